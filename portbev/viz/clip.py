"""Lines and faces cut where they leave what a camera can see.

A box that reaches behind the camera must be cut at the near plane before it is projected: behind it the projection
mirrors points through the image centre.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR = 0.1
"""Distance of the near plane from the camera in metres."""


def clip_segments(segments: Array, near: float = NEAR) -> Array:
    """Part of segments (n, 2, 3) in the camera frame with z >= ``near``: (m, 2, 3), m <= n."""
    kept = segments[(segments[:, :, 2] >= near).any(1)].copy()
    for end, other in ((0, 1), (1, 0)):
        behind = kept[:, end, 2] < near
        inside, outside = kept[behind, other], kept[behind, end]
        share = (near - inside[:, 2]) / (outside[:, 2] - inside[:, 2])
        kept[behind, end] = inside + share[:, None] * (outside - inside)
    return kept


def clip_polygon(points: Array, near: float = NEAR) -> Array:
    """Part of a convex polygon (n, 3) in the camera frame with z >= ``near`` (Sutherland and Hodgman 1974): (m, 3)."""
    kept = []
    for a, b in zip(points, np.roll(points, -1, 0), strict=True):
        if a[2] >= near:
            kept.append(a)
        if (a[2] >= near) != (b[2] >= near):
            kept.append(a + (near - a[2]) / (b[2] - a[2]) * (b - a))
    return np.array(kept, np.float64).reshape(-1, 3)


def clip_to_rectangle(segments: Array, width: float, height: float, margin: float = 8.0) -> Array:
    """Part of segments (n, 2, 2) [u v] inside the rectangle and its margin (Liang and Barsky 1984): (m, 2, 2).

    It also keeps coordinates small enough for the fixed-point numbers of the drawing library.
    """
    start, step = segments[:, 0], segments[:, 1] - segments[:, 0]
    low, high = np.zeros(len(segments)), np.ones(len(segments))
    outside = np.zeros(len(segments), bool)
    for axis, limit in ((0, width), (1, height)):
        for sign, bound in ((-1.0, margin), (1.0, limit + margin)):
            speed, room = sign * step[:, axis], bound - sign * start[:, axis]
            still = speed == 0
            outside |= still & (room < 0)
            with np.errstate(over="ignore"):  # nearly still: infinitely far is right
                at = np.divide(room, speed, out=np.zeros_like(room), where=~still)
            low = np.where(speed < 0, np.maximum(low, at), low)
            high = np.where(speed > 0, np.minimum(high, at), high)
    seen = ~outside & (low < high)
    ends = np.stack([low, high], 1)[seen]
    return start[seen, None] + ends[..., None] * step[seen, None]


def dashes(segments: Array, on: float, off: float) -> Array:
    """Segments (n, 2, 2) cut into dashes of ``on`` pixels with gaps of ``off`` pixels: (m, 2, 2)."""
    cut = []
    for start, end in segments:
        length = float(np.hypot(*(end - start)))
        if length == 0:
            continue
        begins = np.arange(0.0, length, on + off)
        ends = np.minimum(begins + on, length)
        ways = np.stack([begins, ends], 1)[..., None] / length
        cut.append(start + ways * (end - start))
    return np.concatenate(cut) if cut else np.zeros((0, 2, 2))
