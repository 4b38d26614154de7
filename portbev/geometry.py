"""Rotations, poses and camera projection in float64.

Frames, as in nuScenes: *global* (x east, y north, z up), *ego* (x forward, y left, z up, origin on the ground under the
rear axle), *camera* (x right, y down, z forward), *lidar* (x right, y forward, z up); all right-handed, in metres.
Quaternions are (w, x, y, z). A pose is a (4, 4) matrix that transforms points from the frame named first to the frame
named second: ``ego2global``, ``sensor2ego``. In a product of poses the rightmost is applied first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def quaternion_matrix(rotation: ArrayLike) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), which are normalised first."""
    q = np.asarray(rotation, np.float64)
    w, x, y, z = np.moveaxis(q / np.linalg.norm(q, axis=-1, keepdims=True), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def matrix_quaternion(matrix: ArrayLike) -> Array:
    """Unit quaternion (4,) with w >= 0 of a rotation matrix (3, 3) or of a pose (4, 4).

    The largest of the four components is computed from the diagonal, and the others from it (Shepperd, 1978), which
    avoids cancellation at every angle.
    """
    m = np.asarray(matrix, np.float64)[:3, :3]
    xx, yy, zz = np.diagonal(m)
    squares = np.array([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz])
    wx, wy, wz = m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]
    xy, xz, yz = m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[1, 2] + m[2, 1]
    products = np.array([[0, wx, wy, wz], [wx, 0, xy, xz], [wy, xy, 0, yz], [wz, xz, yz, 0]])
    largest = int(squares.argmax())
    q = products[largest]
    q[largest] = squares[largest]
    q /= np.linalg.norm(q)
    return -q if q[0] < 0 else q


def quaternion_product(left: ArrayLike, right: ArrayLike) -> Array:
    """Hamilton product (..., 4): the rotation by ``right`` followed by that by ``left``."""
    aw, ax, ay, az = np.moveaxis(np.asarray(left, np.float64), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(right, np.float64), -1, 0)
    parts = (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )
    return np.stack(parts, -1)


def quaternion_inverse(rotation: ArrayLike) -> Array:
    """Inverse rotations (..., 4) of unit quaternions."""
    return np.asarray(rotation, np.float64) * np.array([1.0, -1.0, -1.0, -1.0])


def yaw_quaternion(yaw: ArrayLike) -> Array:
    """Quaternions (..., 4) of rotations by ``yaw`` radians about z."""
    half = np.asarray(yaw, np.float64) / 2
    return np.stack([np.cos(half), np.zeros_like(half), np.zeros_like(half), np.sin(half)], -1)


def quaternion_yaw(rotation: ArrayLike) -> Array:
    """Direction [rad] in the xy plane of the x axis rotated by quaternions (..., 4)."""
    w, x, y, z = np.moveaxis(np.asarray(rotation, np.float64), -1, 0)
    return np.arctan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z)


def pose(rotation: ArrayLike, translation: ArrayLike) -> Array:
    """Pose matrices (..., 4, 4) of quaternions (..., 4) and translations (..., 3)."""
    rotation_matrix = quaternion_matrix(rotation)
    matrix = np.zeros((*rotation_matrix.shape[:-2], 4, 4))
    matrix[..., :3, :3] = rotation_matrix
    matrix[..., :3, 3] = np.asarray(translation, np.float64)
    matrix[..., 3, 3] = 1.0
    return matrix


def inverse_pose(matrix: ArrayLike) -> Array:
    """Inverses (..., 4, 4) of rigid poses, by transposing the rotation."""
    m = np.asarray(matrix, np.float64)
    inverse = np.zeros_like(m)
    transposed = np.swapaxes(m[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = transposed
    inverse[..., :3, 3] = -(transposed @ m[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1.0
    return inverse


def mean_pose(rotations: ArrayLike, translations: ArrayLike) -> Array:
    """Mean pose (4, 4) of poses that are close together, from quaternions (N, 4) and translations (N, 3).

    BEVDepth averages the ego poses of the six cameras of a sample. A quaternion and its negative are the same rotation;
    the one nearer to the first quaternion is averaged.
    """
    q = np.asarray(rotations, np.float64)
    q = np.where((q @ q[0])[:, None] < 0, -q, q)
    return pose(q.mean(0), np.asarray(translations, np.float64).mean(0))


def transform(matrix: ArrayLike, points: ArrayLike) -> Array:
    """Points (..., 3) transformed by a pose (4, 4)."""
    m = np.asarray(matrix, np.float64)
    return np.asarray(points, np.float64) @ m[:3, :3].T + m[:3, 3]


def project(intrinsic: ArrayLike, points: ArrayLike) -> Array:
    """Pixels and depth (..., 3) [u v depth] of points (..., 3) in the camera frame.

    u and v have no meaning where the depth is not positive. Pixel centres are at whole numbers. ``intrinsic`` is (3, 3)
    or larger.
    """
    p = np.asarray(points, np.float64)
    depth = p[..., 2:3]
    image = p @ np.asarray(intrinsic, np.float64)[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([image[..., :2] / image[..., 2:3], depth], -1)
