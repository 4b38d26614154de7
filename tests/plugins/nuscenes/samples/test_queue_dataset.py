"""Queues and streams: what a sample holds, which frames, that draws are keyed, what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from portbev.data import build_dataset
from portbev.data.loader import build_loader
from portbev.errors import DataError
from portbev.geometry import inverse_pose, pose, project, transform
from portbev.models import Detections
from portbev_nuscenes.config import NuscenesQueueData
from portbev_nuscenes.samples.queue import QueueDataset
from portbev_nuscenes.submission import to_submission

VERSION = "v1.0-mini"
SIZE = (112, 200)
MakeSection = Callable[..., NuscenesQueueData]
Edit = Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]


@pytest.fixture
def section() -> MakeSection:
    """A data section of queues for the tiny data set: two training scenes of three samples, one to evaluate."""

    def make(**changes: Any) -> NuscenesQueueData:
        values = {"version": VERSION, "train_split": "synth_train", "eval_split": "synth_val", "scale": 0.5}
        return NuscenesQueueData(**{**values, **changes})

    return make


@pytest.fixture
def train(root: Path, section: MakeSection) -> QueueDataset:
    return build_dataset(section(), root, "train", seed=3)  # type: ignore[return-value]


def same(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


def plain(root: Path, section: MakeSection, part: Any = "train", **changes: Any) -> QueueDataset:
    """Nothing drawn but, where asked, which frames: pictures and masks as they are."""
    changes = {"photometric": False, "grid_mask": False, **changes}
    return build_dataset(section(**changes), root, part, seed=3)  # type: ignore[return-value]


def frames_of(dataset: QueueDataset, sample: Any) -> list[str]:
    """Tokens of a sample's frames, told by their CAN bus vectors: orientation and motion."""
    every = {tuple(dataset._history([i])[1][0, 3:17]): token for i, token in enumerate(dataset.tokens)}
    return [every[tuple(vector[3:17])] for vector in sample["can_bus"]]


@pytest.mark.parametrize("size", [(200, 112), (203, 117)])
def test_a_sample_has_the_documented_shapes(root: Path, section: MakeSection, tmp_path: Path, size: Any) -> None:
    if size != (200, 112):
        root = Path(shutil.copytree(root, tmp_path / "odd"))
        for path in root.rglob("*.jpg"):
            Image.open(path).resize(size).save(path)
    dataset = build_dataset(section(), root, "train", seed=3)
    sample = dataset.sample(1, 0)
    count = len(sample["boxes"])
    shapes = {name: (value.shape, value.dtype.name) for name, value in sample.items() if isinstance(value, np.ndarray)}
    assert shapes == {
        "images": ((3, 6, 3, 64, 128), "float32"),
        "lidar2img": ((3, 6, 4, 4), "float64"),
        "can_bus": ((3, 18), "float64"),
        "continues": ((3,), "bool"),
        "boxes": ((count, 9), "float32"),
        "labels": ((count,), "int64"),
        "frame2global": ((4, 4), "float64"),
    }
    height, width = sample["image_size"]
    assert (height, width) == (size[1] // 2, size[0] // 2)
    assert not sample["images"][..., height:, :].any() and not sample["images"][..., width:].any()
    assert sample["images"][0, ..., :height, :width].any()
    assert (sample["token"], sample["previous"]) == (dataset.tokens[1], "")
    batch: Any = dataset.collate([sample, dataset.sample(2, 0)])
    assert batch["images"].shape == (2, 3, 6, 3, 64, 128) and batch["can_bus"].shape == (2, 3, 18)
    assert batch["tokens"] == dataset.tokens[1:3] and batch["image_size"] == (height, width)


def test_draws_depend_on_seed_epoch_and_index_alone(root: Path, section: MakeSection, train: QueueDataset) -> None:
    first = train.sample(2, 1)
    train.sample(0, 0)
    same(train.sample(2, 1), first)
    same(build_dataset(section(), root, "train", seed=3).sample(2, 1), first)
    same(pickle.loads(pickle.dumps(train)).sample(2, 1), first)
    for other in (train.sample(2, 2), build_dataset(section(), root, "train", seed=4).sample(2, 1)):
        assert not np.array_equal(other["images"], first["images"])


def test_batches_do_not_depend_on_workers_and_go_on_in_the_middle(train: QueueDataset) -> None:
    how: dict[str, Any] = {"batch_size": 1, "seed": 3, "epoch": 1, "part": "train"}
    whole = [batch["images"].numpy() for batch in build_loader(train, workers=0, **how)]
    again = [batch["images"].numpy() for batch in build_loader(train, workers=2, start_batch=2, **how)]
    assert len(whole) == len(again) + 2 == 6
    np.testing.assert_array_equal(np.stack(again), np.stack(whole[2:]))


def test_a_queue_is_the_sample_and_all_but_one_of_those_before(root: Path, section: MakeSection) -> None:
    dataset = plain(root, section, queue_length=4)
    seen = set()
    for epoch in range(30):
        sample = dataset.sample(5, epoch)
        places = [dataset.tokens.index(token) for token in frames_of(dataset, sample)]
        assert len(places) == 4 and places[-1] == 5 and set(places) < {1, 2, 3, 4, 5} and places == sorted(places)
        seen.add(({1, 2, 3, 4} - set(places)).pop())
    assert seen == {1, 2, 3, 4}


def test_the_first_sample_is_repeated_where_there_is_nothing_before(root: Path, section: MakeSection) -> None:
    dataset = plain(root, section)
    sample = dataset.sample(0, 0)
    assert frames_of(dataset, sample) == [dataset.tokens[0]] * 3
    assert sample["continues"].tolist() == [False, True, True]
    np.testing.assert_array_equal(sample["images"][0], sample["images"][2])
    assert not sample["can_bus"][:, [0, 1, 2, 17]].any()


def test_history_stops_at_a_change_of_scene(root: Path, section: MakeSection) -> None:
    dataset = plain(root, section, augment=False)
    sample = dataset.sample(3, 0)  # the first of the second scene
    assert frames_of(dataset, sample) == dataset.tokens[1:4]
    assert sample["continues"].tolist() == [False, True, False]
    moved = np.abs(sample["can_bus"][:, :3]).max(1) > 0.01
    assert moved.tolist() == [False, True, False]


def test_differences_are_between_the_frames_of_the_queue(root: Path, section: MakeSection) -> None:
    dataset = plain(root, section, augment=False)
    index, rows = dataset.index, dataset.samples[[3, 4, 5]]
    frames = index.key_frames[rows, index.channel("LIDAR_TOP")]
    vectors = dataset.sample(5, 0)["can_bus"]
    np.testing.assert_allclose(vectors[1:, :3], np.diff(index.frame_translation[frames], axis=0), atol=1e-12)
    np.testing.assert_array_equal(vectors[:, 3:7], index.frame_rotation[frames])
    turn = np.diff(np.degrees(vectors[:, 16]))
    np.testing.assert_allclose(vectors[1:, 17], turn, atol=1e-9)


def test_without_augmentation_nothing_is_drawn(root: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(augment=False), root, "train", seed=3)
    other = build_dataset(section(augment=False), root, "train", seed=8)
    same(dataset.sample(4, 0), other.sample(4, 7))


def test_a_queue_of_one_frame_has_no_history(root: Path, section: MakeSection) -> None:
    dataset = plain(root, section, queue_length=1)
    sample = dataset.sample(4, 0)
    assert sample["images"].shape[0] == 1 and sample["continues"].tolist() == [False]
    assert not sample["can_bus"][:, [0, 1, 2, 17]].any()
    second = plain(root, section, "eval", queue_length=1).sample(1, 0)
    assert second["previous"] == "" and not second["can_bus"][:, [0, 1, 2, 17]].any()
    assert plain(root, section, "eval", queue_length=2).sample(1, 0)["previous"]


def test_only_the_current_frame_is_masked_alike_in_all_cameras(root: Path, section: MakeSection) -> None:
    masked, bare = plain(root, section, grid_mask=True), plain(root, section)
    found = 0
    for epoch in range(6):
        one, other = masked.sample(5, epoch)["images"], bare.sample(5, epoch)["images"]
        np.testing.assert_array_equal(one[:-1], other[:-1])
        kept = (one[-1] != 0) | (other[-1] == 0)
        mask = kept.all((0, 1))
        np.testing.assert_array_equal(one[-1], other[-1] * mask)
        found += not mask.all()
    assert 0 < found < 6


def test_pictures_are_distorted_each_in_its_own_way(root: Path, section: MakeSection) -> None:
    changed, bare = plain(root, section, photometric=True), plain(root, section)
    one, other = changed.sample(0, 1)["images"], bare.sample(0, 1)["images"]
    means = (one - other).mean((2, 3, 4)).ravel().tolist()
    assert len(set(means)) == len(means) == 18


def test_every_draw_is_another_for_another_epoch_and_another_index(root: Path, section: MakeSection) -> None:
    bare = plain(root, section, queue_length=1)
    coloured = plain(root, section, queue_length=1, photometric=True)
    masked = plain(root, section, queue_length=1, grid_mask=True)
    colours, masks = set(), set()
    for epoch in range(3):
        for index in range(6):
            before = bare.sample(index, epoch)["images"]
            assert np.array_equal(before, bare.sample(index, 0)["images"])
            colours.add(float((coloured.sample(index, epoch)["images"] - before).mean()))
            masks.add(((masked.sample(index, epoch)["images"] != 0) | (before == 0)).all((0, 1, 2)).tobytes())
    assert len(colours) == 18
    assert len(masks) > 9  # about a third keep all


def test_channels_are_in_the_networks_order(root: Path, section: MakeSection) -> None:
    how: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "augment": False}
    rgb = plain(root, section, "eval", bgr=False, **how).sample(0, 0)["images"]
    bgr = plain(root, section, "eval", bgr=True, **how).sample(0, 0)["images"]
    np.testing.assert_array_equal(rgb, bgr[:, :, ::-1])
    dataset = plain(root, section, "eval", scale=1.0, **how)
    picture = dataset.sample(0, 0)["images"][0, 0].transpose(1, 2, 0)
    path = root / dataset.index.frame_file[dataset.index.key_frames[dataset.samples[0], dataset._cameras[0]]].decode()
    np.testing.assert_array_equal(picture[: SIZE[0], : SIZE[1]], np.asarray(Image.open(path)))


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_a_fixed_point_is_where_the_projection_of_every_frame_sees_it(
    root: Path, section: MakeSection, scale: float
) -> None:
    dataset = plain(root, section, augment=False, scale=scale)
    index, sample = dataset.index, dataset.sample(5, 0)
    ahead = transform(sample["frame2global"], [1.0, 25.0, 0.0])  # LIDAR_TOP looks along y
    for t, row in enumerate(dataset.samples[[3, 4, 5]]):
        frame = index.key_frames[row, index.channel("CAM_FRONT")]
        place = index.frame_calibration[frame]
        ego = pose(index.frame_rotation[frame], index.frame_translation[frame])
        sensor = pose(index.calibration_rotation[place], index.calibration_translation[place])
        expected = project(index.calibration_intrinsic[place], transform(inverse_pose(ego @ sensor), ahead))
        lidar = dataset._lidar2global[row]
        u, v, depth, _ = sample["lidar2img"][t, 0] @ [*transform(inverse_pose(lidar), ahead), 1.0]
        np.testing.assert_allclose([u / depth / scale, v / depth / scale, depth], expected, rtol=1e-9)
        assert 0 < expected[0] < SIZE[1] and expected[2] > 10


def test_boxes_come_back_as_the_annotations_in_range(root: Path, section: MakeSection) -> None:
    near = (-30.0, -20.0, -5.0, 10.0, 25.0, 3.0)
    wide = build_dataset(section(point_cloud_range=(-99, -99, -5, 99, 99, 3)), root, "eval", seed=0)
    close = build_dataset(section(point_cloud_range=near), root, "eval", seed=0)
    index, fewer = wide.index, 0  # type: ignore[attr-defined]
    for i in range(len(wide)):
        sample = wide.sample(i, 0)
        found = Detections(sample["boxes"], np.ones(len(sample["boxes"])), sample["labels"])
        back = to_submission(found, sample["token"], sample["frame2global"])
        rows = np.arange(*index.box_start[wide.samples[i] :][:2])  # type: ignore[attr-defined]
        distance = np.linalg.norm(back.translation[:, None] - index.box_translation[rows][None], axis=-1)
        assert len(back.label) > 0 and distance.min(1).max() < 1e-3
        assert not np.isnan(sample["boxes"]).any()
        x, y = sample["boxes"][:, :2].T
        inside = (x > -30) & (x < 10) & (y > -20) & (y < 25)
        np.testing.assert_array_equal(close.sample(i, 0)["boxes"], sample["boxes"][inside])
        fewer += int((~inside).sum())
    assert fewer > 0


def test_boxes_without_a_point_are_trained_on_only_if_asked(copy: Path, edit: Edit, section: MakeSection) -> None:
    edit(copy, "sample_annotation", lambda rows: [row.update(num_lidar_pts=0) for row in rows[::2]])
    some, every = (plain(copy, section, "eval", use_valid_flag=flag).sample(0, 0)["labels"] for flag in (True, False))
    assert len(some) < len(every)


def empty(copy: Path, edit: Edit, *places: int) -> list[str]:
    """Take all annotations from some samples of the split; their tokens."""
    rows = sorted(json.loads((copy / VERSION / "sample.json").read_text()), key=lambda row: row["timestamp"])
    tokens = [rows[place]["token"] for place in places]

    def unseen(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["sample_token"] in tokens:
                row["num_lidar_pts"] = 0

    edit(copy, "sample_annotation", unseen)
    return tokens


def test_a_queue_with_a_frame_without_ground_truth_is_replaced(copy: Path, edit: Edit, section: MakeSection) -> None:
    without = set(empty(copy, edit, 1))
    dataset = plain(copy, section)
    assert any(note.startswith("1 of 6 samples have no ground truth in range") for note in dataset.notes)
    chosen: dict[int, set[str]] = {i: set() for i in range(6)}
    for epoch in range(25):
        for i in range(6):
            sample = dataset.sample(i, epoch)
            assert not without & set(frames_of(dataset, sample))
            assert len(sample["labels"])
            chosen[i].add(sample["token"])
    assert chosen[0] == {dataset.tokens[0]}
    assert dataset.tokens[1] not in chosen[1] and len(chosen[1]) > 1  # never itself, but others
    assert dataset.tokens[2] in chosen[2] and len(chosen[2]) > 1  # itself when the empty one is dropped
    first = dataset.sample(1, 4)
    same(dataset.sample(1, 4), first)


def test_a_split_without_a_complete_queue_is_told(copy: Path, edit: Edit, section: MakeSection) -> None:
    empty(copy, edit, 0, 2, 4)
    with pytest.raises(DataError, match=r"no queue of 4 frames .* ground truth.*queue_length"):
        plain(copy, section, queue_length=4, augment=False)
    assert len(plain(copy, section, queue_length=1)) == 6


def test_evaluation_goes_through_the_scenes_one_frame_at_a_time(root: Path, section: MakeSection) -> None:
    dataset = plain(root, section, "eval", eval_split="synth_train", photometric=True, grid_mask=True)
    assert dataset.streams() == [[0, 1, 2], [3, 4, 5]]
    samples = [dataset.sample(i, 0) for i in range(6)]
    assert [sample["images"].shape[0] for sample in samples] == [1] * 6
    assert [sample["continues"].tolist() for sample in samples] == [[False], [True], [True]] * 2
    tokens = dataset.tokens
    assert [sample["previous"] for sample in samples] == ["", tokens[0], tokens[1], "", tokens[3], tokens[4]]
    queue = plain(root, section, augment=False).sample(5, 0)
    np.testing.assert_array_equal(np.stack([samples[i]["can_bus"][0] for i in (3, 4, 5)])[1:], queue["can_bus"][1:])
    same(samples[2], dataset.sample(2, 9))


@pytest.mark.parametrize("indices", [slice(None, None, 2), [4, 0, 2], [5, 3, 1]])
def test_a_subset_remembers_what_is_before_in_the_subset(root: Path, section: MakeSection, indices: Any) -> None:
    whole = plain(root, section, "eval", eval_split="synth_train")
    part = whole.subset(indices)
    chosen = np.arange(6)[indices].tolist()
    assert part.tokens == [whole.tokens[i] for i in chosen] and len(whole) == 6
    assert sorted(place for stream in part.streams() for place in stream) == [0, 1, 2]
    for stream in part.streams():
        assert [chosen[place] for place in stream] == sorted(chosen[place] for place in stream)
        for before, place in zip([None, *stream], stream, strict=False):
            sample = part.sample(place, 0)
            assert sample["previous"] == ("" if before is None else part.tokens[before])
            expected = whole._history([chosen[place]] if before is None else [chosen[before], chosen[place]])[1][-1]
            np.testing.assert_array_equal(sample["can_bus"][0], expected)


def test_a_training_subset_has_queues_of_its_own(root: Path, section: MakeSection) -> None:
    part = plain(root, section).subset([5, 1, 3])
    for epoch in range(5):
        frames = frames_of(part, part.sample(0, epoch))
        assert frames[-1] == part.tokens[0] and set(frames) <= set(part.tokens)


def test_scenes_that_overlap_in_time_stay_whole(copy: Path, edit: Edit, section: MakeSection) -> None:
    def together(rows: list[dict[str, Any]]) -> None:
        first = min(row["timestamp"] for row in rows)
        for row in rows:
            row["timestamp"] = first + (row["timestamp"] - first) % 200_000_000

    edit(copy, "sample", together)
    dataset = plain(copy, section, "eval", eval_split="synth_train")
    assert dataset.streams() == [[0, 1, 2], [3, 4, 5]]
    assert [dataset.sample(i, 0)["continues"].item() for i in range(6)] == [False, True, True] * 2


def test_the_digest_tells_data_sets_apart(root: Path, copy: Path, section: MakeSection) -> None:
    whole = build_dataset(section(), root, "train", seed=0).digest()
    assert whole == build_dataset(section(queue_length=2), copy, "train", seed=9).digest()
    assert whole != build_dataset(section(), root, "eval", seed=0).digest()
    assert whole != build_dataset(section(can_bus="poses"), root, "train", seed=0).digest()
    path = copy / "can_bus" / "scene-s0001_pose.json"
    messages = json.loads(path.read_text())
    for message in messages:
        message["vel"][0] += 1
    path.write_text(json.dumps(messages))
    assert whole != build_dataset(section(), copy, "train", seed=0).digest()


@pytest.mark.parametrize("how", ["cut", "gone", "resized"])
def test_an_image_of_the_history_that_cannot_be_used_is_named(copy: Path, section: MakeSection, how: str) -> None:
    dataset = plain(copy, section, augment=False)
    path = copy / dataset.index.frame_file[dataset.index.key_frames[1, dataset.index.channel("CAM_BACK")]].decode()
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        Image.new("RGB", (100, 50)).save(path)
    with pytest.raises(DataError, match=dataset.tokens[1]) as caught:
        dataset.sample(2, 0)
    assert caught.value.where == str(path) and "\n" not in str(caught.value)
    dataset.sample(0, 0)


def test_a_scale_that_leaves_no_picture_is_told(root: Path, section: MakeSection) -> None:
    with pytest.raises(DataError, match=r"200 x 112 are less than 8 pixels at data.scale=0.05\. Raise data.scale"):
        build_dataset(section(scale=0.05), root, "eval", seed=0)


def test_a_data_set_without_pictures_is_told_when_it_is_opened(copy: Path, section: MakeSection) -> None:
    shutil.rmtree(copy / "samples")
    with pytest.raises(DataError, match="image is missing") as caught:
        build_dataset(section(), copy, "eval", seed=0)
    assert "\n" not in str(caught.value)
