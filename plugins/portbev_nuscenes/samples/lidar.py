"""Lidar sweeps and their projection into cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.errors import DataError
from portbev.geometry import inverse_pose
from portbev.paths import DataPath, read_array
from portbev_nuscenes.samples import layout

VALUES_PER_POINT = 5
"""x, y, z [m], intensity, ring index, float32 each."""


def read_lidar(path: DataPath, *, token: str = "", values: int = VALUES_PER_POINT) -> NDArray[np.float32]:
    """Points (n, values) [x y z ...] of a ``.pcd.bin`` file, lidar frame [m].

    Points whose x, y or z is not finite, which some lidars write where nothing came back, are left out.

    Args:
        path: the file: float32 values, nothing else.
        token: the sample it belongs to, named in errors.
        values: float32 values of a point: the key ``data.lidar_values``.

    Raises:
        DataError: missing, empty or truncated file, another format or number of values, or no finite point.
    """
    points = read_points(path, token=token, values=values)
    finite = np.isfinite(points[:, :3]).all(1)
    if finite.all():
        return points
    if not finite.any():
        what = f"lidar file has no point with finite coordinates{_of(token)}"
        raise DataError(what, where=str(path), cure="Fetch it again")
    return points[finite]


def read_points(path: DataPath, *, token: str = "", values: int = VALUES_PER_POINT) -> NDArray[np.float32]:
    """As :func:`read_lidar`, with the points that are not finite."""
    try:
        content = read_array(path, "u1")
    except (OSError, ValueError) as error:
        message = f"lidar file cannot be read{_of(token)}: {getattr(error, 'strerror', None) or error}"
        raise DataError(message, where=str(path), cure="Check the data root") from error
    if content.size == 0 or content.size % (4 * values) or layout.foreign(content):
        what, cure = layout.refusal(content, values)
        raise DataError(what + _of(token), where=str(path), cure=cure)
    return content.view(np.float32).reshape(-1, values)


def _of(token: str) -> str:
    return f" (sample {token})" if token else ""


def relative_pose(lidar2global: ArrayLike, camera2global: ArrayLike) -> NDArray[np.float64]:
    """(4, 4) pose from the lidar's frame to the camera's, in float64.

    Points that pass the global frame in float32, as in the original, lose what its coordinates leave them: a tenth of a
    millimetre at a kilometre from the origin, and a quarter of a metre in UTM.
    """
    return inverse_pose(camera2global) @ np.asarray(lidar2global, np.float64)


def visible_points(
    camera_points: NDArray[np.float64], intrinsic: ArrayLike, source_size: tuple[int, int]
) -> NDArray[np.float32]:
    """(m, 3) [u v depth] of points (n, 3) in the camera frame, of those that are visible.

    Visible points are in front of the camera and inside the image, more than a pixel away from its border.
    """
    height, width = source_size
    points = camera_points[camera_points[:, 2] > 0]
    image = points @ np.asarray(intrinsic, np.float64)[:3, :3].T
    u, v = (image[:, :2] / image[:, 2:]).T
    inside = (u > 1) & (u < width - 1) & (v > 1) & (v < height - 1)
    return np.stack([u[inside], v[inside], points[inside, 2]], -1).astype(np.float32)
