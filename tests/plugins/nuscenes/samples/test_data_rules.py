"""Rules of the data sections: sweeps, cameras, categories, points that a box needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from portbev.data import build_dataset
from portbev.errors import DataError
from portbev_nuscenes.classes import DETECTION_CLASSES, Categories, counts
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData

MakeSection = Callable[..., NuscenesData]
Edit = Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]


@pytest.mark.parametrize("sweeps", [[], [1], [0, 0], [0, -1], [1, 0], [0, 2, 1], [-1]])
def test_history_goes_back_in_time_from_the_current_frame(sweeps: list[int]) -> None:
    with pytest.raises(ValidationError, match=r"0, the current one, comes first"):
        NuscenesData(sweeps=tuple(sweeps))


@pytest.mark.parametrize("kind", [NuscenesData, NuscenesQueueData])
def test_cameras_are_named_once_each(kind: Any) -> None:
    with pytest.raises(ValidationError, match="at least one camera"):
        kind(cameras=())
    with pytest.raises(ValidationError, match="doubled: CAM_BACK"):
        kind(cameras=("CAM_BACK", "CAM_FRONT", "CAM_BACK"))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (NuscenesData, {"image": {"resize": (0.5, 0.4)}}),
        (NuscenesData, {"image": {"source_size": (0, 100)}}),
        (NuscenesData, {"image": {"std": (1, 0, 1)}}),
        (NuscenesData, {"bev": {"scale": (0, 1)}}),
        (NuscenesQueueData, {"point_cloud_range": (1, -5, -5, -1, 5, 5)}),
        (NuscenesQueueData, {"queue_length": 0}),
        (NuscenesQueueData, {"min_points": -1}),
        (NuscenesData, {"lidar_values": 2}),
    ],
)
def test_values_that_cannot_be_meant_are_refused(kind: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        kind(**change)


def test_names_of_categories_may_come_as_sections() -> None:
    nested = NuscenesData(categories={"my": {"car": "car", "van.small": "truck"}})  # type: ignore[dict-item]
    assert nested.categories == {"my.car": "car", "my.van.small": "truck"}
    with pytest.raises(ValidationError, match="Did you mean 'pedestrian'"):
        NuscenesData(categories={"person": "pedestrain"})


def test_a_mapping_comes_before_the_official_names_which_keep_working() -> None:
    categories = Categories(
        {"my.car": "car", "vehicle.truck": "bus", "animal": "pedestrian", "vehicle.trailer": "ignore"}
    )
    names = ["my.car", "vehicle.truck", "animal", "vehicle.car", "vehicle.trailer", "other"]
    expected = ["car", "bus", "pedestrian", "car", None, None]
    assert [categories.class_of(name) for name in names] == expected
    assert [categories.is_ignored(name) for name in names] == [False, False, False, False, True, False]
    labels = [-1 if name is None else DETECTION_CLASSES.index(name) for name in expected]
    assert categories.labels(names).tolist() == labels


def test_points_that_nobody_counted_are_enough() -> None:
    points = np.array([[0, 0], [1, 0], [0, 1], [2, 3], [-1, 0], [-1, -1], [-1, 1], [0, -1]])
    unknown = [False] * 4 + [True] * 4
    assert counts(points).tolist() == [False, True, True, True, *unknown[4:]]
    assert counts(points, 2).tolist() == [False, False, False, True, *unknown[4:]]
    assert counts(points, 0).all()


@pytest.mark.parametrize(("points", "keys", "kept"), [(0, {}, 0), (0, {"min_points": 0}, 1), (-1, {}, 1)])
def test_boxes_without_points_are_kept_by_one_key(
    copy: Path, edit: Edit, section: MakeSection, points: int, keys: dict[str, Any], kept: int
) -> None:
    edit(copy, "sample_annotation", lambda rows: [row.update(num_lidar_pts=points, num_radar_pts=0) for row in rows])
    dataset = build_dataset(section(**keys), copy, "train", seed=0)
    summary = dataset.summary()
    read = sum(count.read for count in summary.boxes.values())
    assert read > 0 and summary.kept == kept * read == sum(len(dataset.sample(i, 0)["boxes"]) for i in range(6))
    if kept:
        dataset.check()
        return
    assert summary.dropped["without enough lidar or radar points"] == read
    with pytest.raises(DataError, match=rf"no box to train on: .*{read} without enough.*data\.min_points=0 keeps"):
        dataset.check()


def own_names(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["name"] = "my." + row["name"].split(".")[-1]


def test_categories_of_ones_own_are_mapped_to_classes(copy: Path, edit: Edit, section: MakeSection) -> None:
    official = build_dataset(section(), copy, "train", seed=0)
    cars, labels = official.summary().boxes["car"], official.sample(0, 0)["labels"]
    edit(copy, "category", own_names)
    for part in ("train", "eval"):
        with pytest.raises(DataError, match=r"no category .*my\.car \(\d+ boxes\).*my\.car: car") as refused:
            build_dataset(section(), copy, part, seed=0)  # type: ignore[arg-type]
        assert "data.categories" in refused.value.cure and "\n" not in str(refused.value)
    mapped = build_dataset(section(categories={"my.car": "car"}), copy, "train", seed=0)
    assert mapped.summary().boxes["car"] == cars
    assert mapped.sample(0, 0)["labels"].tolist() == [
        label for label in labels if label == DETECTION_CLASSES.index("car")
    ]
    assert any("'my.truck' belongs to no detection class" in note for note in mapped.notes)
    ignored = build_dataset(section(categories={"my.car": "car", "my.truck": "ignore"}), copy, "train", seed=0)
    assert not any("my.truck" in note for note in ignored.notes)


def test_a_summary_says_what_is_learnt_from(root: Path, section: MakeSection) -> None:
    summary = build_dataset(section(sweeps=(0, 1)), root, "train", seed=0).summary()
    assert summary.samples == 6
    facts = summary.facts
    assert facts["median time between key frames [s]"] == pytest.approx(0.5, abs=0.05)
    assert facts["share of repeated history frames"] == pytest.approx(2 / 6)  # the first of each of two scenes
    assert 0.2 < facts["share of lidar points in pictures"] < 2  # type: ignore[operator]
    assert 0 <= facts["share of padding in pictures"] < 0.2  # type: ignore[operator]


def test_history_that_no_scene_has_is_noted(root: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(sweeps=(0, 5)), root, "train", seed=0)
    assert dataset.summary().facts["share of repeated history frames"] == 1
    assert any("no sample of synth_train has a key frame 5 before it" in note for note in dataset.notes)


def test_pictures_that_are_black_in_training_alone_are_refused(root: Path, section: MakeSection) -> None:
    image = {"resize": (0.386, 0.55)}  # of the original's pictures of 900 x 1600
    with pytest.raises(DataError, match=r"of each training picture is black padding and \d+% in evaluation") as refused:
        build_dataset(section(image=image), root, "train", seed=0).check()
    assert refused.value.cure == "Set data.image.resize=[0.772,1.1]"
    build_dataset(section(image={"resize": (0.772, 1.1)}), root, "train", seed=0).check()
    build_dataset(section(image=image), root, "eval", seed=0).check()
