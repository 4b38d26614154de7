"""Suppression of detections whose centres are near each other, on the host.

Both take the best first (equal scores: the later one first, as a reversed stable sort gives them) and return the
indices of what is kept, best first, at most ``limit``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
Float32 = NDArray[np.float32]


def circle_nms(centers: Float32, scores: Float32, threshold: float, limit: int | None = None) -> Indices:
    """Drop what lies near a better one (CenterPoint).

    Args:
        centers: (n,2) metres.
        threshold: largest **squared** distance (m^2) at which the lesser is dropped. The original calls it a radius
            but compares it with the squared distance; the published thresholds are meant so.
    """

    def near(best: int, rest: Indices) -> NDArray[np.bool_]:
        apart = centers[rest] - centers[best]
        return (apart**2).sum(axis=1) <= threshold

    return _greedy(scores, near, limit)


def size_aware_circle_nms(boxes: Float32, scores: Float32, scale: float, limit: int | None = None) -> Indices:
    """Drop what lies within a share of the two boxes' extent along both axes (BEVDepth's size_aware_circle).

    Args:
        boxes: (n,>=7) [x y z dx dy dz yaw ...].
        scale: share of the sum of the two half extents.
    """
    cos, sin = np.cos(boxes[:, 6]), np.sin(boxes[:, 6])
    along = np.abs(boxes[:, 3] * cos) + np.abs(boxes[:, 4] * sin)
    across = np.abs(boxes[:, 3] * sin) + np.abs(boxes[:, 4] * cos)
    reach = np.stack([along, across], axis=1) * np.float32(scale / 2)

    def near(best: int, rest: Indices) -> NDArray[np.bool_]:
        apart = np.abs(boxes[rest, :2] - boxes[best, :2])
        return (apart <= reach[rest] + reach[best]).all(axis=1)

    return _greedy(scores, near, limit)


def _greedy(scores: Float32, near, limit: int | None) -> Indices:  # type: ignore[no-untyped-def]
    order = np.argsort(scores, kind="stable")[::-1]
    kept: list[int] = []
    while len(order) and (limit is None or len(kept) < limit):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[~near(best, order)]
    return np.array(kept, np.intp)
