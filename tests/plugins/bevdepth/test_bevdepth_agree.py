"""BEVDepth's model section beside the others: what cannot be is refused with both values, what is odd is a note."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from bevdepth_cases import small

from portbev.config import load_config
from portbev.config.load import agreement
from portbev.errors import ConfigError
from portbev_bevdepth.decode import decode
from portbev_bevdepth.head import BRANCHES
from portbev_bevdepth.nms import size_aware_circle_nms


def notes(*overrides: str) -> list[str]:
    return agreement(load_config("bevdepth/tiny_test", overrides))


@pytest.mark.parametrize(
    ("overrides", "values", "cure"),
    [
        (["data.sweeps=[0,1]"], "(data.sweeps=[0,1], model.key_frames=1)", "Set model.key_frames=2"),
        (["model.key_frames=3"], "(data.sweeps=[0], model.key_frames=3)", "data.sweeps=[0,1,2]"),
        (
            ["data.image.final_size=[64,224]"],
            "(data.image.final_size=[64,224], model.final_size=[64,192])",
            "Set both to the same",
        ),
        (["data.cameras=[CAM_FRONT]"], "(train.batch_size=1, data.cameras=[CAM_FRONT])", "train.batch_size=2"),
        (
            ["data.cameras=[CAM_FRONT]", "model.depth_net.use_aspp=false"],
            "the normalisation of the camera parameters sees one value",
            "take more cameras",
        ),
        (
            ["model.x_bound=[-51.2,51.2,12.8]", "model.y_bound=[-51.2,51.2,12.8]"],
            "the last stage of the head's trunk sees one value",
            "a grid of more cells",
        ),
        (
            ["model.decode.center_range=[60,-61,-10,70,61,10]"],
            "(model.decode.center_range=[60,-61,-10,70,61,10], model.x_bound=[-51.2,51.2,3.2]",
            "Set model.decode.center_range=[-51.2,-51.2,-10,51.2,51.2,10]",
        ),
    ],
)
def test_sections_that_exclude_each_other_are_named_with_their_values(
    overrides: list[str], values: str, cure: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        notes(*overrides)
    assert values in str(refused.value) and cure in refused.value.cure


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.sweeps=[0,1]", "model.key_frames=2"],
        ["data.cameras=[CAM_FRONT]", "train.batch_size=2"],
        ["data.cameras=[CAM_FRONT]", "train.sync_batchnorm=true"],
        ["data.cameras=[CAM_FRONT,CAM_BACK]"],
    ],
)
def test_what_fits_says_nothing(overrides: list[str]) -> None:
    assert notes(*overrides) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.depth_labels=false", "there is no depth loss"),
        ("model.loss.depth_weight=0", "depth labels are made of every lidar scan and not used"),
        ("model.d_bound=[2,42,4]", "cells farther than 42 m straight ahead"),
        ("model.decode.center_range=[-20,-20,-10,20,20,10]", "outside model.decode.center_range are thrown away"),
        ("model.decode.max_per_task=100", "decoding allows 600 boxes a sample"),
    ],
)
def test_what_is_seldom_meant_is_a_note(override: str, said: str) -> None:
    (note,) = notes(override)
    assert said in note and override.split("=", maxsplit=1)[0] in note


def test_classes_that_the_model_does_not_know_are_named() -> None:
    tasks = "[[car],[truck],[bus],[barrier],[motorcycle],[pedestrian,traffic_cone]]"
    (note,) = notes(f"model.head.tasks={tasks}")
    assert "leaves out construction_vehicle, trailer, bicycle: the benchmark averages over 10 classes" in note


def test_sizes_beyond_float32_are_decoded_without_a_warning() -> None:
    config = small()
    columns, rows = config.bev_size
    outputs = []
    for task in config.head.tasks:
        output = {name: torch.zeros(1, channels, rows, columns) for name, channels in BRANCHES}
        output["heatmap"] = torch.full((1, len(task), rows, columns), 3.0)
        output["dim"][:, 0], output["dim"][:, 1] = 100.0, -200.0
        outputs.append(output)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = decode(config, outputs)
    assert len(found.boxes) and np.isposinf(found.boxes[:, 3]).all() and (found.boxes[:, 4] == 0).all()


def test_boxes_that_are_nan_are_left_to_the_benchmark_to_count_and_suppress_no_other() -> None:
    config = small(decode={"nms": "circle"})
    columns, rows = config.bev_size
    outputs = []
    for task in config.head.tasks:
        output = {name: torch.zeros(1, channels, rows, columns) for name, channels in BRANCHES}
        output["heatmap"] = torch.full((1, len(task), rows, columns), -9.0)
        outputs.append(output)
    outputs[0]["heatmap"][0, 0, 1, 1] = 2.0
    outputs[0]["heatmap"][0, 0, 1, 2] = float("nan")
    outputs[0]["heatmap"][0, 0, 3, 3] = 1.0
    outputs[0]["reg"][0, 0, 3, 3] = float("nan")
    (found,) = decode(config, outputs)
    finite = np.isfinite(found.boxes).all(1) & np.isfinite(found.scores)
    assert finite.tolist() == [True, False, False]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_box_without_end_suppresses_no_other() -> None:
    boxes = np.array([[0, 0, 0, np.inf, 2, 1, 0, 0, 0], [30, 30, 0, 4, 2, 1, 0, 0, 0]], np.float32)
    assert size_aware_circle_nms(boxes, np.array([0.9, 0.5], np.float32), 0.5).tolist() == [0, 1]
