"""Clips lines and faces to the part that a camera can see.

A box that reaches behind the camera must be clipped at the near plane before it is projected, because the projection
mirrors points behind the camera through the image centre.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR = 0.1
"""Distance of the near plane from the camera in metres."""


def clip_segments(segments: Array, near: float = NEAR) -> Array:
    """The parts of segments (n, 2, 3) in the camera frame with z >= ``near``: (m, 2, 3), m <= n."""
    clipped = segments[(segments[:, :, 2] >= near).any(1)].copy()
    for end, other in ((0, 1), (1, 0)):
        behind = clipped[:, end, 2] < near
        inside, outside = clipped[behind, other], clipped[behind, end]
        fraction = (near - inside[:, 2]) / (outside[:, 2] - inside[:, 2])
        clipped[behind, end] = inside + fraction[:, None] * (outside - inside)
    return clipped


def clip_polygon(points: Array, near: float = NEAR) -> Array:
    """The part of a convex polygon (n, 3) in the camera frame with z >= ``near``: (m, 3).

    Sutherland and Hodgman, 1974.
    """
    clipped = []
    for a, b in zip(points, np.roll(points, -1, 0), strict=True):
        if a[2] >= near:
            clipped.append(a)
        if (a[2] >= near) != (b[2] >= near):
            clipped.append(a + (near - a[2]) / (b[2] - a[2]) * (b - a))
    return np.array(clipped, np.float64).reshape(-1, 3)


def clip_to_rectangle(segments: Array, width: float, height: float, margin: float = 8.0) -> Array:
    """The parts of segments (n, 2, 2) [u v] inside the rectangle and a margin around it: (m, 2, 2).

    Liang and Barsky, 1984. The results' coordinates are small enough for OpenCV's fixed-point numbers.
    """
    start, step = segments[:, 0], segments[:, 1] - segments[:, 0]
    low, high = np.zeros(len(segments)), np.ones(len(segments))
    outside = np.zeros(len(segments), bool)
    for axis, limit in ((0, width), (1, height)):
        for sign, bound in ((-1.0, margin), (1.0, limit + margin)):
            speed, distance = sign * step[:, axis], bound - sign * start[:, axis]
            parallel = speed == 0
            outside |= parallel & (distance < 0)
            with np.errstate(over="ignore"):  # nearly parallel segments meet the border at infinity
                crossing = np.divide(distance, speed, out=np.zeros_like(distance), where=~parallel)
            low = np.where(speed < 0, np.maximum(low, crossing), low)
            high = np.where(speed > 0, np.minimum(high, crossing), high)
    visible = ~outside & (low < high)
    ends = np.stack([low, high], 1)[visible]
    return start[visible, None] + ends[..., None] * step[visible, None]


def dashes(segments: Array, on: float, off: float) -> Array:
    """Segments (n, 2, 2) divided into dashes of ``on`` pixels with gaps of ``off`` pixels: (m, 2, 2)."""
    dashed = []
    for start, end in segments:
        length = float(np.hypot(*(end - start)))
        if length == 0:
            continue
        begins = np.arange(0.0, length, on + off)
        ends = np.minimum(begins + on, length)
        fractions = np.stack([begins, ends], 1)[..., None] / length
        dashed.append(start + fractions * (end - start))
    return np.concatenate(dashed) if dashed else np.zeros((0, 2, 2))
