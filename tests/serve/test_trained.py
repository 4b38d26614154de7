"""Requests made of a data set's samples: the served model answers them as the evaluation does, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from portbev.config import load_config
from portbev.data import build_dataset, open_root
from portbev.errors import DataError
from portbev.evaluate.inference import evaluating, infer_batch
from portbev.models import DetectionModel, build_model, move_batch
from portbev.plugins import plugins
from portbev.runtime import activate
from portbev.serve.trained import TrainedPredictor

Opened = tuple[TrainedPredictor, DetectionModel, Any, Any, Any]
SWEEPS = ["data.sweeps=[0,1]", "model.key_frames=2"]
CASES = {
    "bevdepth": ("bevdepth/tiny_test", []),
    "bevdepth, two key frames": ("bevdepth/tiny_test", SWEEPS),
    "bevformer": ("bevformer/tiny_test", []),
    "echofusion": ("echofusion/tiny_test", []),
    "echofusion, rt of the loader": ("echofusion/tiny_test", ["data.signal_on=loader"]),
}


def opened(name: str) -> Opened:
    """A predictor of a model with random weights, and what it is made of."""
    config = load_config(*CASES[name])
    backend = activate("cpu", precision=config.compute.precision, deterministic=config.compute.deterministic)
    dataset = build_dataset(config.data, open_root(config.data.root), "eval", seed=0)
    torch.manual_seed(0)
    model = build_model(plugins().models()[config.model.family], config.model).eval()
    form = plugins().requests()[config.data.kind]
    return TrainedPredictor(model, form, dataset, config, backend, {}), model, dataset, config, backend


def evaluated(model: DetectionModel, dataset: Any, config: Any, backend: Any, indices: list[int]) -> list[Any]:
    """Detections as the evaluation finds them, sample by sample."""
    found = []
    with evaluating(model):
        for index in indices:
            batch = dataset.collate([dataset.sample(index, 0)])
            found += infer_batch(model, move_batch(batch, torch.device("cpu")), backend, config)
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_answer_to_a_sample_is_what_the_evaluation_finds(name: str) -> None:
    predictor, model, dataset, config, backend = opened(name)
    source, state = predictor.samples(), None
    order = source.order(3)
    expected = evaluated(model, dataset, config, backend, [index for index, _ in order])
    for (index, begins), theirs in zip(order, expected, strict=True):
        given = [({} if begins else state) or {}] if predictor.temporal else None
        (prediction,) = predictor([source.request(index)], given)
        state = prediction.state
        ours = prediction.detections
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
    assert any(len(one.boxes) for one in expected)
    assert predictor.temporal == (name == "bevformer") == any(not begins for _, begins in order)


def test_streams_that_take_turns_do_not_disturb_each_other() -> None:
    predictor, *_ = opened("bevformer")
    source = predictor.samples()
    frames = [source.request(index) for index, _ in source.order(2)]
    first, other = predictor([frames[0], frames[1]], [{}, {}])
    (second,) = predictor([frames[1]], [first.state])
    assert not np.array_equal(second.detections.scores, other.detections.scores)  # history matters
    (again,) = predictor([frames[1]], [first.state])
    np.testing.assert_array_equal(again.detections.boxes, second.detections.boxes)
    (alone,) = predictor([frames[1]], [{}])
    np.testing.assert_array_equal(alone.detections.scores, other.detections.scores)


@pytest.mark.parametrize(
    ("name", "field", "change", "said"),
    [
        ("bevdepth", "camera2ego", lambda pose: pose * 2, "camera2ego: is no pose"),
        ("bevdepth", "camera2ego", np.zeros_like, "camera2ego: is no pose"),
        ("bevdepth", "intrinsics", lambda k: -k, "intrinsics: is no camera matrix"),
        ("bevformer", "lidar2camera", lambda pose: np.swapaxes(pose, -1, -2), "lidar2camera: is no pose"),
        ("echofusion", "intrinsics", np.zeros_like, "intrinsics: is no camera matrix"),
        ("echofusion", "radar", lambda radar: radar[:, :-1], "radar: has the shape"),
        ("bevdepth", "images", lambda images: images[..., ::2, :], "images: has the shape"),
    ],
)
def test_values_that_cannot_be_are_refused(name: str, field: str, change: Any, said: str) -> None:
    predictor, *_ = opened(name)
    request = dict(predictor.samples().request(0))
    request[field] = change(request[field])
    with pytest.raises(DataError, match=said):
        predictor([request], [{}] if predictor.temporal else None)
