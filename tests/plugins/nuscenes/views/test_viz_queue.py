"""Pictures agree with the geometry of a queue batch, whose boxes are in the lidar frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portbev.boxes import box_corners
from portbev.data import build_dataset
from portbev.evaluate.benchmark import find_benchmark
from portbev.geometry import project, transform
from portbev.models import Detections
from portbev_nuscenes.benchmark import _merge
from portbev_nuscenes.config import NuscenesQueueData
from portbev_nuscenes.synth import SynthOptions, generate
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.views import NuscenesViews


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SynthOptions(
        scenes=2, val_scenes=1, samples_per_scene=2, image_size=(160, 90), sweeps=0, lidar_beams=8, lidar_steps=90
    )
    return generate(tmp_path_factory.mktemp("queue") / "root", options)


def test_boxes_of_a_queue_batch_are_drawn_where_its_matrices_put_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path))
    section = NuscenesQueueData(version="v1.0-mini", eval_split="synth_train", scale=0.5)
    dataset = build_dataset(section, root, "eval", seed=0)
    batch = dataset.collate([dataset.sample(0, 0)])
    assert batch["images"].shape[:3] == (1, 1, 6)  # type: ignore[typeddict-item]
    boxes, labels = batch["boxes"][0], batch["labels"][0]
    assert len(boxes)
    found = Detections(boxes, np.ones(len(boxes), np.float32), labels)
    encoded = find_benchmark(dataset.benchmark).encode(found, batch["tokens"][0], batch["frame2global"][0])
    views = NuscenesViews(root, load_index(root, "v1.0-mini"), _merge([encoded], batch["tokens"]))
    view = views.view(batch["tokens"][0])
    np.testing.assert_allclose(np.sort(view.predictions.boxes[:, 0]), np.sort(_truth_of(view, boxes)[:, 0]), atol=1e-3)
    seen = 0
    for place, channel in enumerate(section.cameras):
        camera = view.cameras[channel]
        for drawn, box in zip(view.predictions.boxes, boxes, strict=True):
            pixels = project(camera.intrinsic, transform(camera.global2camera, box_corners(drawn[None])[0]))
            corners = np.c_[box_corners(box[None].astype(np.float64))[0], np.ones(8)]
            direct = corners @ batch["lidar2img"][0, 0, place].T  # type: ignore[typeddict-item]
            if (direct[:, 2] > 1).all():
                seen += 1
                np.testing.assert_allclose(direct[:, :2] / direct[:, 2:3], 0.5 * pixels[:, :2], atol=0.5)
    assert seen


def _truth_of(view: object, boxes: np.ndarray) -> np.ndarray:
    """The annotations nearest to the drawn boxes."""
    truth = view.truth.boxes  # type: ignore[attr-defined]
    drawn = view.predictions.boxes  # type: ignore[attr-defined]
    return truth[np.linalg.norm(truth[:, None, :2] - drawn[None, :, :2], axis=2).argmin(0)]
