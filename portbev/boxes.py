"""3-D boxes and their conventions.

A box is a row [x y z dx dy dz yaw vx vy]. x, y and z are the centre in metres (z is not the bottom). dx, dy and dz are
the full extents in metres along the box's own axes: length in the direction of the heading, width and height. yaw is
the heading in radians from x towards y. vx and vy are the velocity in m/s along the frame's axes. nuScenes' sizes have
the order width, length, height: see :func:`extents_from_wlh`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.geometry import transform

Array = NDArray[np.float64]

BOX_FIELDS = ("x", "y", "z", "dx", "dy", "dz", "yaw", "vx", "vy")
_SIGNS = np.array([[sx, sy, sz] for sz in (-1, 1) for sx, sy in ((1, 1), (1, -1), (-1, -1), (-1, 1))], np.float64) / 2

EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
"""The edges of a box as pairs of corner indices of :func:`box_corners`; corners 0, 1, 4 and 5 are the front."""


def box_corners(boxes: ArrayLike) -> Array:
    """Corners (n, 8, 3) of boxes (n, 7 or more): bottom front left, front right, rear right, rear left, then top."""
    b = np.asarray(boxes, np.float64)
    offset = _SIGNS * b[:, None, 3:6]
    cos, sin = np.cos(b[:, None, 6]), np.sin(b[:, None, 6])
    x = offset[..., 0] * cos - offset[..., 1] * sin
    y = offset[..., 0] * sin + offset[..., 1] * cos
    return np.stack([x, y, offset[..., 2]], -1) + b[:, None, :3]


def footprint(boxes: ArrayLike) -> Array:
    """Corners (n, 4, 2) of the boxes seen from above: front left, front right, rear right, rear left."""
    return box_corners(boxes)[:, :4, :2]


def wrap_angle(angle: ArrayLike) -> Array:
    """Angles [rad] wrapped to [-pi, pi)."""
    return (np.asarray(angle, np.float64) + np.pi) % (2 * np.pi) - np.pi


def extents_from_wlh(size: ArrayLike) -> Array:
    """Extents (dx, dy, dz) of nuScenes sizes (..., 3), whose order is width, length, height; it is its own inverse."""
    return np.asarray(size, np.float64)[..., [1, 0, 2]]


def transform_boxes(matrix: ArrayLike, boxes: ArrayLike) -> Array:
    """Boxes (n, 9) transformed by a rigid pose (4, 4) that keeps z nearly vertical.

    Centre, heading and velocity are transformed. The new yaw is that of the rotated heading, seen from above.
    """
    m, b = np.asarray(matrix, np.float64), np.array(boxes, np.float64)
    heading = np.stack([np.cos(b[:, 6]), np.sin(b[:, 6])], -1) @ m[:2, :2].T
    b[:, :3] = transform(m, b[:, :3])
    b[:, 6] = np.arctan2(heading[:, 1], heading[:, 0])
    b[:, 7:9] = b[:, 7:9] @ m[:2, :2].T
    return b
