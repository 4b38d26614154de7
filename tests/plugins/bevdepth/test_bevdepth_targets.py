"""Targets and decoding: what is put in comes out; borders and quirks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bevdepth_cases import outputs_that_say, small
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.decode import decode
from portbev_bevdepth.nms import circle_nms, size_aware_circle_nms
from portbev_bevdepth.targets import box_targets, depth_bins, draw_gaussian

box = st.tuples(
    st.floats(-50, 50, width=32),
    st.floats(-50, 50, width=32),
    st.floats(-3, 3, width=32),
    st.floats(0.5, 12, width=32),
    st.floats(0.5, 4, width=32),
    st.floats(0.5, 4, width=32),
    st.floats(-3, 3, width=32),
    st.floats(-15, 15, width=32),
    st.floats(-15, 15, width=32),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(box, st.integers(0, 9)), min_size=0, max_size=12))
def test_boxes_come_back_from_perfect_outputs(objects: list[tuple[tuple[float, ...], int]]) -> None:
    config = small(decode={"nms": "none"})
    boxes = np.array([b for b, _ in objects], np.float32).reshape(-1, 9)
    labels = np.array([label for _, label in objects], np.int64)
    cells = {}  # a cell of a task's map holds one box, the last one written
    for row, (b, label) in enumerate(zip(boxes, labels, strict=True)):
        task = next(t for t, names in enumerate(((0,), (1, 2), (3, 4), (5,), (6, 7), (8, 9))) if label in names)
        cells.setdefault((task, int((b[0] + 51.2) / 3.2), int((b[1] + 51.2) / 3.2)), []).append(row)
    alone = [rows[0] for rows in cells.values() if len(rows) == 1]
    found = decode(config, outputs_that_say(config, box_targets(config, [boxes], [labels])))[0]
    for row in alone:
        apart = np.abs(found.boxes - boxes[row]).max(axis=1, initial=0) + (found.labels != labels[row])
        assert apart.min(initial=np.inf) < 1e-3
    assert (found.scores > 0.99).all()


@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 1)), max_size=25),
    st.floats(0.01, 4),
    st.integers(1, 10),
)
def test_circle_nms_equals_the_naive_one(
    points: list[tuple[float, float, float]], threshold: float, limit: int
) -> None:
    centers = np.array([p[:2] for p in points], np.float32).reshape(-1, 2)
    scores = np.array([p[2] for p in points], np.float32)
    kept: list[int] = []
    for candidate in sorted(range(len(points)), key=lambda i: (scores[i], i), reverse=True):
        if all(((centers[candidate] - centers[k]) ** 2).sum() > np.float32(threshold) for k in kept):
            kept.append(candidate)
    assert list(circle_nms(centers, scores, np.float32(threshold), limit)) == kept[:limit]


def test_circle_threshold_is_a_squared_distance() -> None:
    centers = np.array([[0, 0], [1.9, 0], [4.1, 0]], np.float32)
    assert list(circle_nms(centers, np.array([3, 2, 1], np.float32), 4.0)) == [0, 2]


def test_size_aware_nms_looks_along_the_boxes() -> None:
    long = [0, 0, 0, 10, 2, 1, 0]
    boxes = np.array([long, [7, 0, 0, 10, 2, 1, 0], [0, 3, 0, 10, 2, 1, 0]], np.float32)
    assert list(size_aware_circle_nms(boxes, np.array([3, 2, 1], np.float32), 1.0)) == [0, 2]


@pytest.mark.parametrize(("quirks", "objects"), [("official", 1), ("fixed", 0)])
def test_a_centre_just_outside_counts_for_the_first_cell_only_officially(quirks: str, objects: int) -> None:
    outside = np.array([[-51.5, 0, 0, 4, 2, 1.5, 0, 0, 0]], np.float32)
    target = box_targets(small(quirks=quirks), [outside], [np.array([0])])[0]
    assert int(target.mask.sum()) == objects


def test_slots_go_class_by_class_and_flat_boxes_are_left_out() -> None:
    rows = np.tile(np.array([10, 0, 0, 4, 2, 1.5, 0, 0, 0], np.float32), (4, 1))
    rows[:, 2] = [1, 2, 3, 4]
    rows[3, 3] = 0
    target = box_targets(small(), [rows], [np.array([2, 1, 1, 1])])[1]  # truck, construction_vehicle
    assert target.code[0, :, 2].tolist() == [2, 3, 0, 1]
    assert target.mask[0].tolist() == [1, 1, 0, 1]


@given(st.integers(0, 15), st.integers(0, 11), st.integers(0, 20))
def test_bump_is_clipped_at_the_borders_and_peaks_at_one(x: int, y: int, radius: int) -> None:
    heatmap = np.zeros((12, 16), np.float32)
    draw_gaussian(heatmap, x, y, radius)
    assert heatmap[y, x] == 1 and (heatmap == 1).sum() == 1 and heatmap.min() >= 0
    rows, columns = np.nonzero(heatmap)
    assert abs(rows - y).max() <= radius and abs(columns - x).max() <= radius


def test_depth_labels_take_the_nearest_return_within_the_bins() -> None:
    config = BevDepthConfig(final_size=(32, 64))
    depth = torch.zeros(1, 1, 32, 64)
    depth[0, 0, 3, 4], depth[0, 0, 5, 6] = 30.0, 10.2  # block (0,0): the nearer one
    depth[0, 0, 0, 16] = 1.9  # before the first bin
    depth[0, 0, 0, 32] = 58.0  # behind the last
    depth[0, 0, 16, 0] = 2.0  # first bin
    depth[0, 0, 16, 16] = 57.99  # last bin
    assert depth_bins(config, depth).tolist() == [[[17, 0, 0, 0], [1, 112, 0, 0]]]


def test_no_boxes_at_all() -> None:
    config = small()
    empty = [np.zeros((0, 9), np.float32)], [np.zeros(0, np.int64)]
    targets = box_targets(config, *empty)
    assert all(not t.mask.any() and not t.heatmap.any() for t in targets)
    assert len(decode(config, outputs_that_say(config, targets))[0].scores) == 0
