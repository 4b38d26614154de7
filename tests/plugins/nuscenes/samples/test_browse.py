"""What ``portbev data browse`` draws of nuScenes samples: boxes where the network's own matrices put them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portbev.boxes import transform_boxes
from portbev.data import build_dataset
from portbev.data.pictures.photometric import Distortion, words
from portbev.geometry import project, transform
from portbev.viz.scene import View
from portbev_nuscenes.browse import queue, sweeps
from portbev_nuscenes.browse.annotated import CURE
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_nuscenes.recorded import Recorded
from portbev_nuscenes.samples.augment import image_matrix
from portbev_nuscenes.samples.queue import QueueDataset
from portbev_nuscenes.samples.sweeps import SweepDataset

MakeSection = Callable[..., NuscenesData]


def recorded(dataset: Any, index: int) -> View:
    """The sample's annotations that are trained on, in the global frame and in the pictures as recorded."""
    reader = Recorded(dataset.root, dataset.index, lidar_values=5, cure=CURE)
    rows, _ = dataset.annotation_rows(int(dataset.samples[index]))
    boxes = reader.boxes(rows, dataset.labels_of(rows))
    return reader.view(int(dataset.samples[index]), truth=boxes, predictions=boxes)


def centres(view: View, channel: str) -> np.ndarray:
    """(n, 3) u, v and depth of the boxes' centres in a camera."""
    camera = view.cameras[channel]
    return project(camera.intrinsic, transform(camera.global2camera, view.predictions.boxes[:, :3]))


@pytest.fixture
def train(root: Path, section: MakeSection) -> SweepDataset:
    bev = {"rotate": (-20.0, 20.0), "flip_x": 0.5, "flip_y": 0.5}
    return build_dataset(section(bev=bev), root, "train", seed=3)  # type: ignore[return-value]


def test_augmented_boxes_are_drawn_at_the_augmented_pixels_of_what_was_annotated(train: SweepDataset) -> None:
    plain, seen, flips = recorded(train, 1), 0, set[bool]()
    for epoch in range(4):
        sample, section = train.sample(1, epoch), train.section
        view = sweeps.seen_view(sample, section.cameras, section.image, "scene")
        for how, channel in zip(train.draw(1, epoch)[0], section.cameras, strict=True):
            flips.add(how.flip)
            before, after = centres(plain, channel), centres(view, channel)
            wide = view.cameras[channel].image.shape[1]
            inside = (before[:, 2] > 4) & (after[:, 0] > 0) & (after[:, 0] < wide)
            moved = np.c_[before[:, :2], np.zeros(len(before)), np.ones(len(before))]
            moved = (moved @ image_matrix(how, section.image.final_size).T)[:, :2]
            np.testing.assert_allclose(after[inside, :2], moved[inside], atol=1.5)
            seen += int(inside.sum())
    assert seen > 20 and flips == {True, False}


def test_depth_labels_are_drawn_where_the_lidar_has_seen_something(train: SweepDataset) -> None:
    sample, section = train.sample(0, 0), train.section
    view = sweeps.seen_view(sample, section.cameras, section.image, "scene")
    back = transform(np.linalg.inv(sample["bda"].astype(np.float64)), view.points)
    lidar = recorded(train, 0).points
    gaps = np.array([np.linalg.norm(lidar - point, axis=1).min() / np.linalg.norm(point) for point in back[::7]])
    assert len(back) > 200 and np.quantile(gaps, 0.95) < 0.03  # a pixel is 1/150 of the distance
    assert len(back) == np.count_nonzero(sample["depth"])


@given(
    st.tuples(*[st.floats(5, 60)] * 2),
    st.floats(-1.0, 1.0),
    st.booleans(),
)
def test_unprojecting_inverts_projecting_through_augmented_pixels_and_a_mirrored_frame(
    place: tuple[float, float], turn: float, mirrored: bool
) -> None:
    intrinsic = np.array([[np.cos(turn), np.sin(turn), 3], [-np.sin(turn), np.cos(turn), 5], [0, 0, 1]]) @ np.array(
        [[100.0, 0, 50], [0, 100.0, 40], [0, 0, 1]]
    )
    frame2camera = np.diag([-1.1 if mirrored else 1.1, 1.1, 1.1, 1.0])
    points = np.array([[place[0] - 30, 2.0, place[1]]])
    pixels = project(intrinsic, transform(frame2camera, points))
    np.testing.assert_allclose(sweeps.unprojected(pixels, intrinsic, frame2camera), points, atol=1e-9)


@pytest.fixture
def frames(root: Path) -> QueueDataset:
    section = NuscenesQueueData(
        version="v1.0-mini", train_split="synth_train", eval_split="synth_val", scale=0.5, queue_length=2
    )
    return build_dataset(section, root, "train", seed=3)  # type: ignore[return-value]


def test_boxes_of_a_queue_are_drawn_at_the_scaled_pixels_of_what_was_annotated(frames: QueueDataset) -> None:
    sample = frames.sample(2, 0)
    index = frames.tokens.index(sample["token"])
    plain, view = recorded(frames, index), queue.seen_view(sample, frames.section, "scene")
    lidar2global = frames.frame2global(int(frames.samples[index]))
    np.testing.assert_allclose(
        transform_boxes(lidar2global, view.predictions.boxes)[:, :3], plain.predictions.boxes[:, :3], atol=1e-3
    )
    for channel in frames.section.cameras:
        before, after = centres(plain, channel), centres(view, channel)
        near = before[:, 2] > 2
        np.testing.assert_allclose(after[near, :2], 0.5 * before[near, :2], atol=0.02)
        np.testing.assert_allclose(after[:, 2], before[:, 2], atol=1e-3)


def test_a_projection_is_taken_apart_into_a_camera_and_a_rigid_pose(frames: QueueDataset) -> None:
    for matrix in frames.sample(0, 0)["lidar2img"][-1]:
        intrinsic, pose = queue.decomposed(matrix)
        np.testing.assert_allclose(intrinsic @ pose[:3], matrix[:3], atol=1e-9)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        np.testing.assert_allclose(intrinsic[[1, 2, 2], [0, 0, 1]], 0, atol=1e-9)
        assert (np.diag(intrinsic) > 0).all()


def test_what_is_written_is_what_was_drawn(train: SweepDataset, frames: QueueDataset) -> None:
    said = sweeps.SweepBrowser(train).seen(1, 2).said
    how, bev = train.draw(1, 2)
    assert len(said) == len(how) + 2
    assert f"resized by {how[0].resize:.4g}, cropped at {how[0].crop[0]}, {how[0].crop[1]}" in said[0]
    assert ("mirrored" in said[0]) == how[0].flip and f"{bev.scale:.4f}" in said[-2]
    said = queue.QueueBrowser(frames).seen(2, 0).said
    drawn = frames.distortions(2, 2, 0)
    assert next(line for line in said if line.startswith("frame 0: ")).count(";") == len(drawn[1]) - 1
    assert words(drawn[1][0]) in said[2] or words(drawn[1][0]) in said[3]
    mask = frames.grid_mask(frames.sample(2, 0)["images"].shape[-2:], 2, 0)
    assert mask is not None and ("no grid mask" in said[-1]) == mask.all()


def test_words_of_a_distortion_name_what_differs_alone() -> None:
    assert words(Distortion()) == "as it is"
    every = Distortion(-12.4, 1.25, True, 0.5, 7.0, (2, 1, 0))
    assert words(every) == "brightness -12, contrast x1.25 first, saturation x0.50, hue +7, channels RGB"


def test_annotations_that_are_not_trained_on_are_told_with_the_reason(root: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(min_points=40), root, "train", seed=0)
    said = sweeps.SweepBrowser(dataset).annotated(0).said  # type: ignore[arg-type]
    rows, others = dataset.annotation_rows(int(dataset.samples[0]))  # type: ignore[attr-defined]
    count = int(re.findall(r"(\d+) with fewer than 40 points", said[1])[0])
    assert 0 < count <= len(others) and said[0].endswith(f"{len(rows) + len(others)} annotations as recorded")


def test_a_queue_without_lidar_files_is_drawn_without_points_and_says_so(copy: Path) -> None:
    section = NuscenesQueueData(
        version="v1.0-mini", train_split="synth_train", eval_split="synth_val", scale=0.5, queue_length=1
    )
    for path in copy.rglob("*.pcd.bin"):
        path.unlink()
    dataset = build_dataset(section, copy, "train", seed=0)
    assert "no lidar points" in queue.QueueBrowser(dataset).annotated(0).said[0]  # type: ignore[arg-type]
