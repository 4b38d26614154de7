"""Samples: what they hold, that draws are keyed, what is refused."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portbev.data import build_dataset
from portbev.errors import DataError
from portbev.geometry import inverse_pose, pose, project, quaternion_yaw, transform
from portbev.models import Detections
from portbev_nuscenes.classes import CATEGORY_TO_CLASS, DETECTION_CLASSES
from portbev_nuscenes.config import NuscenesData
from portbev_nuscenes.samples.sweeps import SweepDataset
from portbev_nuscenes.submission import to_submission

MakeSection = Callable[..., NuscenesData]
Edit = Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]


def same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture
def train(root: Path, section: MakeSection) -> SweepDataset:
    return build_dataset(section(sweeps=(0, 1)), root, "train", seed=3)


def test_a_sample_has_the_documented_shapes(train: SweepDataset) -> None:
    sample = train.sample(0, 0)
    count = len(sample["boxes"])
    shapes = {name: (value.shape, value.dtype.name) for name, value in sample.items() if isinstance(value, np.ndarray)}
    matrices = dict.fromkeys(("sensor2ego", "intrin", "ida", "sensor2sensor"), ((2, 6, 4, 4), "float32"))
    assert shapes == {
        "images": ((2, 6, 3, 64, 176), "float32"),
        **matrices,
        "bda": ((4, 4), "float32"),
        "depth": ((6, 64, 176), "float32"),
        "boxes": ((count, 9), "float32"),
        "labels": ((count,), "int64"),
        "frame2global": ((4, 4), "float64"),
    }
    assert count > 0
    assert sample["token"] == train.tokens[0]


def test_draws_depend_on_seed_epoch_and_index_alone(root: Path, section: MakeSection, train: SweepDataset) -> None:
    first = train.sample(2, 1)
    train.sample(0, 0)
    same(train.sample(2, 1), first)
    same(build_dataset(section(sweeps=(0, 1)), root, "train", seed=3).sample(2, 1), first)
    for other in (train.sample(2, 2), build_dataset(section(sweeps=(0, 1)), root, "train", seed=4).sample(2, 1)):
        assert not np.array_equal(other["ida"], first["ida"])
        assert not np.array_equal(other["bda"], first["bda"])


def test_a_camera_is_augmented_alike_in_all_its_sweeps(train: SweepDataset) -> None:
    ida = train.sample(1, 0)["ida"]
    np.testing.assert_array_equal(ida[0], ida[1])
    assert len({camera.tobytes() for camera in ida[0]}) == 6


def test_previous_key_frames_are_repeated_at_the_beginning_of_a_scene(train: SweepDataset) -> None:
    first, second = train.sample(0, 0), train.sample(1, 0)
    np.testing.assert_array_equal(first["images"][0], first["images"][1])
    np.testing.assert_allclose(first["sensor2ego"][0], first["sensor2ego"][1], atol=1e-6)
    assert not np.array_equal(second["images"][0], second["images"][1])
    assert np.abs(second["sensor2ego"][0] - second["sensor2ego"][1]).max() > 0.1  # the ego drives
    assert np.array_equal(train.sample(3, 0)["images"][0], train.sample(3, 0)["images"][1])  # the second scene


def test_a_fixed_point_is_where_the_matrices_of_every_sweep_see_it(root: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(sweeps=(0, 1), augment=False), root, "train", seed=0)
    index, sample = dataset.index, dataset.sample(1, 0)
    point = transform(sample["frame2global"], [20.0, 1.0, 1.0])
    camera = dataset.section.cameras.index("CAM_FRONT")
    column = index.channel("CAM_FRONT")
    for sweep, frame in enumerate((index.key_frames[1, column], index.key_frames[0, column])):
        place = index.frame_calibration[frame]
        ego = pose(index.frame_rotation[frame], index.frame_translation[frame])
        sensor = pose(index.calibration_rotation[place], index.calibration_translation[place])
        expected = project(index.calibration_intrinsic[place], transform(inverse_pose(ego @ sensor), point))
        key = index.key_frames[1, column]
        key_ego = pose(index.frame_rotation[key], index.frame_translation[key])
        through = inverse_pose(sample["sensor2ego"][sweep, camera].astype(np.float64))
        seen = project(sample["intrin"][sweep, camera], transform(through, transform(inverse_pose(key_ego), point)))
        np.testing.assert_allclose(seen, expected, atol=1e-2)
    moved = sample["sensor2sensor"][1, camera].astype(np.float64) @ (
        np.linalg.inv(sample["sensor2ego"][0, camera].astype(np.float64)) @ sample["sensor2ego"][1, camera]
    )
    np.testing.assert_allclose(moved, np.eye(4), atol=1e-4)


def test_lidar_depth_agrees_with_the_boxes_that_it_falls_on(root: Path, section: MakeSection) -> None:
    """Depth label pixels lifted back through the batch's matrices lie in the world: none below the ground."""
    sample = build_dataset(section(), root, "train", seed=1).sample(0, 0)
    heights, inside = [], 0
    for camera in range(6):
        rows, columns = np.nonzero(sample["depth"][camera])
        pixels = np.stack([columns + 0.5, rows + 0.5, np.zeros(len(rows)), np.ones(len(rows))])
        source = np.linalg.inv(sample["ida"][0, camera].astype(np.float64)) @ pixels
        depth = sample["depth"][camera][rows, columns]
        rays = np.linalg.inv(sample["intrin"][0, camera, :3, :3].astype(np.float64)) @ np.vstack(
            [source[:2], np.ones(len(rows))]
        )
        points = transform(sample["sensor2ego"][0, camera], (rays * depth).T)
        heights.append(points[np.hypot(*points.T[:2]) < 15, 2])
        inside += len(rows)
    near = np.concatenate(heights)
    assert inside > 100 and len(near) > 20
    assert abs(np.percentile(near, 20)) < 0.3  # the road: half a pixel at 15 m


def test_evaluation_is_not_augmented_and_has_no_depth(root: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(cbgs=True), root, "eval", seed=3)
    assert len(dataset) == len(set(dataset.tokens)) == 3
    sample = dataset.sample(0, 0)
    same({**sample, "depth": 0}, {**dataset.sample(0, 7), "depth": 0})
    np.testing.assert_array_equal(sample["bda"], np.eye(4))
    assert sample["depth"] is None


def test_boxes_come_back_as_the_annotations(root: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(), root, "eval", seed=0)
    index = dataset.index
    for i in range(len(dataset)):
        sample, rows = dataset.sample(i, 0), np.arange(*index.box_start[dataset.samples[i] :][:2])
        known = np.array([name.decode() in CATEGORY_TO_CLASS for name in index.categories])
        rows = rows[(index.box_points[rows].sum(1) > 0) & known[index.box_category[rows]]]
        found = Detections(sample["boxes"], np.ones(len(sample["boxes"])), sample["labels"])
        back = to_submission(found, sample["token"], sample["frame2global"])
        assert len(back.label) == len(rows) > 0
        np.testing.assert_allclose(back.translation, index.box_translation[rows], atol=1e-4)
        np.testing.assert_allclose(back.size, index.box_size[rows], rtol=1e-6)
        turn = quaternion_yaw(back.rotation) - quaternion_yaw(index.box_rotation[rows])
        np.testing.assert_allclose(np.cos(turn), 1, atol=1e-6)
        np.testing.assert_allclose(back.velocity, np.nan_to_num(index.box_velocity[rows, :2]), atol=1e-2)
        assert {row["sample_token"] for row in back.rows()} == {sample["token"]}


def test_cbgs_gives_every_class_its_share(root: Path, section: MakeSection) -> None:
    plain = build_dataset(section(), root, "train", seed=0)
    balanced = build_dataset(section(cbgs=True), root, "train", seed=0)
    assert set(balanced.tokens) <= set(plain.tokens)
    assert len(balanced) > len(plain) == 6
    assert build_dataset(section(cbgs=True), root, "train", seed=0).tokens == balanced.tokens
    assert build_dataset(section(cbgs=True), root, "train", seed=1).tokens != balanced.tokens


def test_a_repeated_sample_is_augmented_differently_each_time(root: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(cbgs=True), root, "train", seed=0)
    token = Counter(dataset.tokens).most_common(1)[0][0]
    one, other = [i for i, name in enumerate(dataset.tokens) if name == token][:2]
    assert not np.array_equal(dataset.sample(one, 0)["ida"], dataset.sample(other, 0)["ida"])


def test_the_digest_tells_data_sets_apart(root: Path, copy: Path, edit: Edit, section: MakeSection) -> None:
    whole = build_dataset(section(), root, "train", seed=0)
    assert whole.digest() == build_dataset(section(cbgs=False), copy, "train", seed=9).digest()
    assert whole.digest() != build_dataset(section(), root, "eval", seed=0).digest()
    edit(copy, "sample_annotation", lambda rows: [row.update(size=[1, 1, 1]) for row in rows])
    assert whole.digest() != build_dataset(section(), copy, "train", seed=0).digest()


def test_a_subset_has_the_samples_that_were_asked_for(root: Path, section: MakeSection) -> None:
    whole = build_dataset(section(), root, "eval", seed=0)
    part = whole.subset(slice(None, None, 2))
    assert part.tokens == whole.tokens[::2] and len(whole) == 3
    same({**part.sample(1, 0), "depth": 0}, {**whole.sample(2, 0), "depth": 0})


def test_a_dataset_can_be_sent_to_a_worker(train: SweepDataset) -> None:
    same(pickle.loads(pickle.dumps(train)).sample(1, 2), train.sample(1, 2))


def test_a_read_only_root_is_enough(copy: Path, section: MakeSection) -> None:
    def contents() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in copy.rglob("*")}

    before = contents()
    for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)
    try:
        build_dataset(section(), copy, "train", seed=0).sample(0, 0)
        assert contents() == before
    finally:
        for folder in [copy, *(path for path in copy.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)


def test_a_category_without_a_class_is_noted_and_left_out(copy: Path, edit: Edit, section: MakeSection) -> None:
    cars = [row for row in build_dataset(section(), copy, "train", seed=0).sample(0, 0)["labels"] if row == 0]

    def rename(rows: list[dict[str, Any]]) -> None:
        next(row for row in rows if row["name"] == "vehicle.car")["name"] = "vehicle.hovercraft"

    edit(copy, "category", rename)
    dataset = build_dataset(section(), copy, "train", seed=0)
    assert cars and DETECTION_CLASSES.index("car") not in dataset.sample(0, 0)["labels"]
    assert any("vehicle.hovercraft" in note for note in dataset.notes)


@pytest.mark.parametrize("how", ["cut", "gone", "foreign", "resized"])
def test_an_image_that_cannot_be_used_is_named(copy: Path, section: MakeSection, how: str) -> None:
    dataset = build_dataset(section(), copy, "train", seed=0)
    index = dataset.index
    path = copy / index.frame_file[index.key_frames[0, index.channel("CAM_BACK")]].decode()
    if how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "gone":
        path.unlink()
    elif how == "foreign":
        path.write_text("not an image")
    else:
        from PIL import Image

        Image.new("RGB", (100, 50)).save(path)
    with pytest.raises(DataError, match=dataset.tokens[0]) as caught:
        dataset.sample(0, 0)
    assert caught.value.where == str(path) and "\n" not in str(caught.value)
    dataset.sample(1, 0)


@pytest.mark.parametrize("how", ["cut", "gone", "empty", "nan"])
def test_a_lidar_file_that_cannot_be_used_is_named(copy: Path, section: MakeSection, how: str) -> None:
    dataset = build_dataset(section(), copy, "train", seed=0)
    index = dataset.index
    path = copy / index.frame_file[index.key_frames[0, index.channel("LIDAR_TOP")]].decode()
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        bad = np.full(5, np.nan, np.float32).tobytes()
        path.write_bytes({"cut": content[:-7], "empty": b"", "nan": bad * (len(content) // 20)}[how])
    with pytest.raises(DataError, match=dataset.tokens[0]) as caught:
        dataset.sample(0, 0)
    assert caught.value.where == str(path)


def test_evaluation_needs_no_lidar_files(copy: Path, section: MakeSection) -> None:
    for path in copy.rglob("*.pcd.bin"):
        path.unlink()
    build_dataset(section(), copy, "eval", seed=0).sample(0, 0)
    build_dataset(section(depth_labels=False), copy, "train", seed=0).sample(0, 0)


def test_splits_and_sensors_that_are_not_there_are_told(root: Path, section: MakeSection) -> None:
    with pytest.raises(DataError, match=r"unknown split 'nowhere'.*synth_train"):
        build_dataset(section(train_split="nowhere"), root, "train", seed=0)
    with pytest.raises(DataError, match="belongs to a version that ends with 'trainval'"):
        build_dataset(section(train_split="train"), root, "train", seed=0)
    with pytest.raises(DataError, match=r"no sensor 'CAM_TOP'.*CAM_FRONT"):
        build_dataset(section(cameras=("CAM_TOP",)), root, "train", seed=0)


def test_a_sample_without_a_key_frame_is_told(copy: Path, edit: Edit, section: MakeSection) -> None:
    def demote(rows: list[dict[str, Any]]) -> None:
        next(row for row in rows if row["is_key_frame"] and "/CAM_FRONT/" in row["filename"])["is_key_frame"] = False

    edit(copy, "sample_data", demote)
    with pytest.raises(DataError, match="1 samples have no CAM_FRONT key frame"):
        build_dataset(section(), copy, "train", seed=0)


def test_a_split_without_annotations_cannot_be_trained_on(copy: Path, edit: Edit, section: MakeSection) -> None:
    edit(copy, "sample_annotation", lambda rows: rows.clear())
    with pytest.raises(DataError, match="no annotations to train on"):
        build_dataset(section(), copy, "train", seed=0)
    assert len(build_dataset(section(), copy, "eval", seed=0).sample(0, 0)["boxes"]) == 0
