"""Rotations, poses, projection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from portbev.geometry import (
    inverse_pose,
    matrix_quaternion,
    mean_pose,
    pose,
    project,
    quaternion_inverse,
    quaternion_matrix,
    quaternion_product,
    quaternion_yaw,
    transform,
    yaw_quaternion,
)

numbers = st.floats(-1.0, 1.0, allow_nan=False)
places = arrays(np.float64, 3, elements=st.floats(-2000, 2000))


@st.composite
def quaternions(draw: st.DrawFn) -> np.ndarray:
    q = np.array([draw(numbers) for _ in range(4)])
    assume(np.linalg.norm(q) > 1e-2)
    return q / np.linalg.norm(q)


@given(quaternions())
def test_rotation_matrices_are_those_of_scipy(q: np.ndarray) -> None:
    np.testing.assert_allclose(quaternion_matrix(q), Rotation.from_quat(q[[1, 2, 3, 0]]).as_matrix(), atol=1e-14)


@given(quaternions())
def test_a_matrix_gives_its_quaternion_back(q: np.ndarray) -> None:
    back = matrix_quaternion(quaternion_matrix(q))
    assert back[0] >= 0
    np.testing.assert_allclose(quaternion_matrix(back), quaternion_matrix(q), atol=1e-12)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_half_turns_have_quaternions(axis: int) -> None:
    q = np.eye(4)[axis]
    np.testing.assert_allclose(np.abs(matrix_quaternion(quaternion_matrix(q))), q, atol=1e-15)


@given(quaternions(), quaternions())
def test_a_product_turns_by_the_right_one_first(left: np.ndarray, right: np.ndarray) -> None:
    both = quaternion_matrix(quaternion_product(left, right))
    np.testing.assert_allclose(both, quaternion_matrix(left) @ quaternion_matrix(right), atol=1e-13)


@given(quaternions())
def test_a_rotation_and_its_inverse_cancel(q: np.ndarray) -> None:
    np.testing.assert_allclose(quaternion_product(q, quaternion_inverse(q)), [1, 0, 0, 0], atol=1e-14)


@given(st.floats(-3.1, 3.1))
def test_yaw_comes_back(yaw: float) -> None:
    assert quaternion_yaw(yaw_quaternion(yaw)) == pytest.approx(yaw, abs=1e-12)


@given(quaternions(), places, places)
def test_a_pose_and_its_inverse_cancel(q: np.ndarray, shift: np.ndarray, point: np.ndarray) -> None:
    matrix = pose(q, shift)
    np.testing.assert_allclose(inverse_pose(matrix) @ matrix, np.eye(4), atol=1e-11)
    np.testing.assert_allclose(transform(inverse_pose(matrix), transform(matrix, point)), point, atol=1e-10)


def test_poses_broadcast() -> None:
    q = np.tile([1.0, 0, 0, 0], (2, 3, 1))
    shift = np.arange(18.0).reshape(2, 3, 3)
    matrices = pose(q, shift)
    assert matrices.shape == (2, 3, 4, 4)
    np.testing.assert_array_equal(inverse_pose(matrices)[..., :3, 3], -shift)


@given(quaternions(), places)
def test_the_mean_of_one_pose_is_that_pose_whatever_the_quaternions_sign(q: np.ndarray, shift: np.ndarray) -> None:
    mean = mean_pose([q, -q, q], [shift, shift, shift])
    np.testing.assert_allclose(mean, pose(q, shift), atol=1e-12, rtol=1e-12)


@given(arrays(np.float64, (5, 2), elements=st.floats(0, 1600)), st.floats(0.5, 60))
def test_projected_points_are_where_their_ray_was_cast(pixels: np.ndarray, depth: float) -> None:
    intrinsic = np.array([[1266.4, 0, 816.3], [0, 1260.8, 491.5], [0, 0, 1]])
    rays = np.concatenate([pixels, np.ones((5, 1))], 1) @ np.linalg.inv(intrinsic).T * depth
    np.testing.assert_allclose(project(intrinsic, rays), np.column_stack([pixels, np.full(5, depth)]), atol=1e-9)
