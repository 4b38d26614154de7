"""BEVFormer's model section beside the others: what cannot be is refused with both values, what is odd is a note."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from portbev.config import load_config
from portbev.config.load import agreement
from portbev.errors import ConfigError
from portbev_bevformer import head


def notes(*overrides: str) -> list[str]:
    return agreement(load_config("bevformer/tiny_test", overrides))


@pytest.mark.parametrize(
    ("overrides", "values", "cure"),
    [
        (["model.cameras=1"], "model.cameras=1)", "Set model.cameras=6"),
        (
            ["data.cameras=[CAM_FRONT,CAM_FRONT_LEFT]"],
            "(data.cameras=[CAM_FRONT,CAM_FRONT_LEFT], model.cameras=6)",
            "Set model.cameras=2",
        ),
        (
            ["model.point_cloud_range=[-25.6,-25.6,-5,25.6,25.6,3]"],
            "(data.point_cloud_range=[-51.2,-51.2,-5,51.2,51.2,3], "
            "model.point_cloud_range=[-25.6,-25.6,-5,25.6,25.6,3])",
            "Set data.point_cloud_range=[-25.6,-25.6,-5,25.6,25.6,3]",
        ),
        (
            ["data.point_cloud_range=[-51.2,-51.2,-5,60,51.2,3]"],
            "boxes would be trained on that lie outside",
            "widen model.point_cloud_range",
        ),
        (
            ["model.decode.center_range=[-61,-61,3,61,61,10]"],
            "(model.decode.center_range=[-61,-61,3,61,61,10], model.point_cloud_range=[-51.2",
            "Set model.decode.center_range=[-51.2,-51.2,-5,51.2,51.2,3]",
        ),
        (
            ["model.decode.center_range=[61,61,10,-61,-61,-10]"],
            "no box of the model lies where decoding keeps boxes",
            "Set model.decode.center_range=[-51.2,-51.2,-5,51.2,51.2,3]",
        ),
    ],
)
def test_sections_that_exclude_each_other_are_named_with_their_values(
    overrides: list[str], values: str, cure: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        notes(*overrides)
    assert values in str(refused.value) and cure in refused.value.cure


def test_as_many_cameras_in_both_are_right() -> None:
    assert notes("model.cameras=2", "data.cameras=[CAM_FRONT,CAM_BACK]") == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.point_cloud_range=[-30,-30,-5,30,30,3]"], "outer part of the model's range are not trained on"),
        (["data.point_cloud_range=[-51.2,-51.2,-4,51.2,51.2,2]"], "leave out no box"),
        (["model.decode.center_range=[-20,-20,-10,20,20,10]"], "are thrown away"),
        (["data.queue_length=1"], "no history, neither in training nor in evaluation"),
        (["model.decode.max_detections=600", "model.decoder.queries=600"], "decoding allows 600 boxes a sample"),
    ],
)
def test_what_is_seldom_meant_is_a_note(overrides: list[str], said: str) -> None:
    (note,) = notes(*overrides)
    assert said in note and overrides[0].split("=")[0] in note


def test_few_queries_bound_the_boxes_of_a_sample() -> None:
    assert notes("model.decode.max_detections=600") == []  # 20 queries of 10 classes


def test_official_quirks_that_mix_the_samples_of_a_batch_are_named() -> None:
    assert notes("train.batch_size=2", "model.quirks=fixed") == []
    first, second = notes("train.batch_size=2")
    assert "model.quirks.visibility_lists=official" in first and "model.quirks.temporal_concat=official" in second
    assert all("train.batch_size=2" in note for note in (first, second))


def test_classes_that_the_model_does_not_know_are_named() -> None:
    (note,) = notes("model.classes=[car,truck,bus,trailer,construction_vehicle,pedestrian,motorcycle,bicycle]")
    assert "model.classes leaves out barrier, traffic_cone: the benchmark averages over 10 classes" in note


def test_boxes_of_a_class_of_ones_own_that_the_model_lacks_are_named() -> None:
    classes = "model.classes=[car,truck,bus,trailer,construction_vehicle,pedestrian,motorcycle,bicycle,barrier]"
    assert len(notes(classes, "data.categories.my.van=car")) == 1
    _, note = notes(classes, "data.categories.my.cone=traffic_cone")
    assert "model.classes leaves out (data.categories.my.cone=traffic_cone)" in note


def test_sizes_beyond_float32_are_decoded_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (box,) = head.decode([[1, 2, 100, -200, 3, 0, 0, 1, 0, 0]])
    assert np.isposinf(box[4]) and box[3] == 0 and box[5] == 1
