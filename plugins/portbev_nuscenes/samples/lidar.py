"""Lidar sweeps and their projection into cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.errors import DataError
from portbev.geometry import quaternion_matrix

VALUES_PER_POINT = 5
"""x, y, z [m], intensity, ring index, float32 each."""


def read_lidar(path: Path, *, token: str = "") -> NDArray[np.float32]:
    """Points (n, 5) [x y z intensity ring] of a ``.pcd.bin`` file, lidar frame.

    Raises:
        DataError: missing, empty or truncated file, or coordinates that are not finite.
    """
    suffix = f" (sample {token})" if token else ""
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        message = f"lidar file cannot be read{suffix}: {error.strerror}"
        raise DataError(message, where=str(path), cure="Check the data root") from error
    if content.size == 0 or content.size % (4 * VALUES_PER_POINT):
        raise DataError(
            f"lidar file is truncated{suffix}: {content.size} bytes, not a multiple of {4 * VALUES_PER_POINT}",
            where=str(path),
            cure="Fetch it again",
        )
    points = content.view(np.float32).reshape(-1, VALUES_PER_POINT)
    if not np.isfinite(points[:, :3]).all():
        raise DataError(
            f"lidar file has coordinates that are not finite{suffix}", where=str(path), cure="Fetch it again"
        )
    return points


def rotate_shift(points: NDArray[np.float32], rotation: ArrayLike, translation: ArrayLike) -> NDArray[np.float32]:
    """Points (3, n) rotated by a quaternion, then translated; float32 after each step, as in the original.

    In the global frame, at a kilometre from its origin, float32 resolves a tenth of a millimetre.
    """
    rotated = (quaternion_matrix(rotation) @ points).astype(np.float32)
    return rotated + np.asarray(translation, np.float64).astype(np.float32)[:, None]


def shift_rotate_back(points: NDArray[np.float32], rotation: ArrayLike, translation: ArrayLike) -> NDArray[np.float32]:
    """The inverse of :func:`rotate_shift`."""
    shifted = points - np.asarray(translation, np.float64).astype(np.float32)[:, None]
    return (quaternion_matrix(rotation).T @ shifted).astype(np.float32)


def visible_points(
    camera_points: NDArray[np.float32], intrinsic: ArrayLike, source_size: tuple[int, int]
) -> NDArray[np.float32]:
    """(m, 3) [u v depth] of points (3, n) in the camera frame, of those that are visible.

    Visible points are in front of the camera and inside the image, more than a pixel away from its border.
    """
    height, width = source_size
    points = camera_points[:, camera_points[2] > 0]
    image = np.asarray(intrinsic, np.float64)[:3, :3] @ points
    u, v = image[:2] / image[2]
    inside = (u > 1) & (u < width - 1) & (v > 1) & (v < height - 1)
    return np.stack([u[inside], v[inside], points[2, inside]], -1).astype(np.float32)
