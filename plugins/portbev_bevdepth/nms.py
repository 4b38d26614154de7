"""Non-maximum suppression of detections whose centres are near each other, on the host.

Both functions visit detections by falling score and return the indices of the kept ones in that order, at most
``limit``. Of equal scores the later one is visited first, as a reversed stable sort orders them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Float32 = NDArray[np.float32]


def circle_nms(centers: Float32, scores: Float32, threshold: float, limit: int | None = None) -> Indices:
    """Circle NMS of CenterPoint: drop detections near one with a higher score.

    Args:
        centers: (n,2) metres.
        threshold: largest **squared** distance (m^2) at which the detection with the lower score is dropped. The
            original calls it a radius but compares it with the squared distance; published thresholds are squared.
    """

    def is_near(best: int, rest: Indices) -> NDArray[np.bool_]:
        difference = centers[rest] - centers[best]
        return (difference**2).sum(axis=1) <= threshold

    return _greedy_nms(scores, is_near, limit)


def size_aware_circle_nms(boxes: Float32, scores: Float32, scale: float, limit: int | None = None) -> Indices:
    """BEVDepth's size_aware_circle: drop boxes whose distance to one with a higher score is small along both axes.

    Args:
        boxes: (n,>=7) [x y z dx dy dz yaw ...] in metres and radians.
        scale: the distance is small up to this multiple of the sum of the two boxes' half extents along the axis.
    """
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    with np.errstate(invalid="ignore"):  # 0 * inf
        x_extent = np.abs(boxes[:, 3] * cos) + np.abs(boxes[:, 4] * sin)
        y_extent = np.abs(boxes[:, 3] * sin) + np.abs(boxes[:, 4] * cos)
    half_extents = np.stack([x_extent, y_extent], axis=1) * np.float32(scale / 2)
    half_extents[~np.isfinite(half_extents)] = 0  # a box without end would suppress all others

    def is_near(best: int, rest: Indices) -> NDArray[np.bool_]:
        distance = np.abs(boxes[rest, :2] - boxes[best, :2])
        return (distance <= half_extents[rest] + half_extents[best]).all(axis=1)

    return _greedy_nms(scores, is_near, limit)


def _greedy_nms(scores: Float32, is_near: Callable[[int, Indices], NDArray[np.bool_]], limit: int | None) -> Indices:
    order = np.argsort(scores, kind="stable")[::-1]
    kept: list[int] = []
    while len(order) and (limit is None or len(kept) < limit):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[~is_near(best, order)]
    return np.array(kept, np.intp)
