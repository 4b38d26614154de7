"""Boxes: corners, extents, moving between frames."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from portbev.boxes import EDGES, box_corners, extents_from_wlh, footprint, transform_boxes, wrap_angle
from portbev.geometry import inverse_pose, pose, transform, yaw_quaternion

BOX = np.array([[10.0, 5.0, 1.0, 4.0, 2.0, 1.5, np.pi / 2, 3.0, 0.0]])
floats = st.floats(-3, 3)
boxes = arrays(np.float64, (4, 9), elements=floats).map(
    lambda b: (
        np.abs(b) * [0, 0, 0, 1, 1, 1, 0, 0, 0] + b * [1, 1, 1, 0, 0, 0, 1, 1, 1] + [0, 0, 0, 0.1, 0.1, 0.1, 0, 0, 0]
    )
)


def test_the_front_of_a_box_lies_in_its_heading() -> None:
    corners = box_corners(BOX)[0]
    front = corners[[0, 1, 4, 5]]
    np.testing.assert_allclose(front.mean(0), [10, 7, 1], atol=1e-12)
    np.testing.assert_allclose(corners[0], [9, 7, 0.25], atol=1e-12)  # bottom front left
    assert (corners[:4, 2] < corners[4:, 2]).all()


@given(boxes)
def test_edges_have_the_boxes_extents(rows: np.ndarray) -> None:
    corners = box_corners(rows)
    lengths = np.array([np.linalg.norm(corners[:, a] - corners[:, b], axis=1) for a, b in EDGES])
    np.testing.assert_allclose(lengths[[1, 3, 5, 7]], np.tile(rows[:, 3], (4, 1)), atol=1e-9)
    np.testing.assert_allclose(lengths[[0, 2, 4, 6]], np.tile(rows[:, 4], (4, 1)), atol=1e-9)
    np.testing.assert_allclose(lengths[8:], np.tile(rows[:, 5], (4, 1)), atol=1e-9)


def test_footprints_are_the_corners_from_above() -> None:
    np.testing.assert_array_equal(footprint(BOX), box_corners(BOX)[:, :4, :2])


@given(boxes, st.floats(-3, 3), arrays(np.float64, 3, elements=floats))
def test_a_moved_box_has_the_moved_corners(rows: np.ndarray, yaw: float, shift: np.ndarray) -> None:
    matrix = pose(yaw_quaternion(yaw), shift)
    moved = transform_boxes(matrix, rows)
    np.testing.assert_allclose(box_corners(moved), transform(matrix, box_corners(rows)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(moved[:, 7:9], axis=1), np.linalg.norm(rows[:, 7:9], axis=1), atol=1e-9)
    back = transform_boxes(inverse_pose(matrix), moved)
    np.testing.assert_allclose(wrap_angle(back[:, 6] - rows[:, 6]), 0, atol=1e-9)


@given(st.floats(-50, 50))
def test_wrapped_angles_are_the_same_angles(angle: float) -> None:
    wrapped = float(wrap_angle(angle))
    assert -np.pi <= wrapped < np.pi
    np.testing.assert_allclose([np.cos(wrapped), np.sin(wrapped)], [np.cos(angle), np.sin(angle)], atol=1e-12)


def test_sizes_change_order_and_back() -> None:
    np.testing.assert_array_equal(extents_from_wlh([1.9, 4.6, 1.7]), [4.6, 1.9, 1.7])
    np.testing.assert_array_equal(extents_from_wlh(extents_from_wlh([[1, 2, 3]])), [[1, 2, 3]])
