"""Area of the intersection of two rotated rectangles, in float64, for many pairs at once.

One rectangle is clipped by the four sides of the other (Sutherland and Hodgman, Reentrant polygon clipping, 1974), in
the frame of the other, where its sides are on the lines x = +-dx/2 and y = +-dy/2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_CORNERS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float64) / 2
_BLOCK = 1 << 15  # pairs clipped at a time: about 50 MB


def shared_area(first: Array, second: Array) -> Array:
    """Areas (n,) of the intersections of rectangles, pair by pair.

    Args:
        first, second: (n, 5) x, y, dx, dy, yaw: centre, full extents along and across the heading, heading [rad].
    """
    area = np.zeros(len(first))
    reach = (np.hypot(first[:, 2], first[:, 3]) + np.hypot(second[:, 2], second[:, 3])) / 2
    near = np.flatnonzero(np.hypot(*(first[:, :2] - second[:, :2]).T) < reach)
    for begin in range(0, len(near), _BLOCK):
        rows = near[begin : begin + _BLOCK]
        area[rows] = _clipped_area(first[rows], second[rows])
    return area


def _clipped_area(first: Array, second: Array) -> Array:
    offset = _turned(first[:, None, :2] - second[:, None, :2], -second[:, 4])
    polygon = _turned(_CORNERS * first[:, None, 2:4], first[:, 4] - second[:, 4]) + offset
    for axis in (0, 1):
        for sign in (1.0, -1.0):
            polygon = _clip(polygon, axis, sign, second[:, 2 + axis] / 2)
    following = np.roll(polygon, -1, axis=1)
    doubled = polygon[..., 0] * following[..., 1] - polygon[..., 1] * following[..., 0]
    return np.maximum(doubled.sum(1) / 2, 0.0)


def _turned(points: Array, angle: Array) -> Array:
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack([x * cos - y * sin, x * sin + y * cos], -1)


def _clip(polygon: Array, axis: int, sign: float, limit: Array) -> Array:
    """Keep the part of polygons with ``sign * coordinate <= limit``.

    All polygons have the same number of corners: unused ones repeat the last corner. An empty polygon is all zeros.
    """
    room = limit[:, None] - sign * polygon[..., axis]
    following, next_room = np.roll(polygon, -1, axis=1), np.roll(room, -1, axis=1)
    inside = room >= 0
    crosses = inside != (next_room >= 0)
    share = np.divide(room, room - next_room, out=np.zeros_like(room), where=crosses)
    crossing = polygon + share[..., None] * (following - polygon)
    crossing[..., axis] = sign * limit[:, None]  # exactly on the line, so that later steps count it as inside
    corners = np.stack([polygon, crossing], 2).reshape(len(polygon), -1, 2)
    valid = np.stack([inside, crosses], 2).reshape(len(polygon), -1)
    count = valid.sum(1)
    slots = np.arange(max(int(count.max(initial=0)), 1))
    first_to_last = np.argsort(~valid, axis=1, kind="stable")
    chosen = np.take_along_axis(first_to_last, np.minimum(slots, np.maximum(count - 1, 0)[:, None]), axis=1)
    kept = np.take_along_axis(corners, chosen[..., None], axis=1)
    kept[count == 0] = 0.0
    return kept
