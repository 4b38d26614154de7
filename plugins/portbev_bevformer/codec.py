"""Box codes of the network and boxes of the project.

The network's code is [cx, cy, log w, log l, cz, log h, sin, cos, vx, vy] in the LIDAR_TOP frame: centres in metres, and
the heading of mmdet3d before its version 1, -(heading from x towards y) - pi / 2. For boxes see ``portbev.boxes``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from portbev.boxes import wrap_angle

Floats = NDArray[np.float32]


def encode(boxes: ArrayLike) -> Floats:
    """Boxes (n, 9) to codes (n, 10)."""
    x, y, z, dx, dy, dz, yaw, vx, vy = np.asarray(boxes, np.float32).reshape(-1, 9).T
    heading = -yaw - np.float32(math.pi / 2)
    return np.stack([x, y, np.log(dy), np.log(dx), z, np.log(dz), np.sin(heading), np.cos(heading), vx, vy], -1)


def decode(codes: ArrayLike) -> Floats:
    """Codes (n, 10) to boxes (n, 9)."""
    cx, cy, w, length, cz, h, sin, cos, vx, vy = np.asarray(codes, np.float32).reshape(-1, 10).T
    yaw = wrap_angle(-np.arctan2(sin, cos) - math.pi / 2).astype(np.float32)
    return np.stack([cx, cy, cz, np.exp(length), np.exp(w), np.exp(h), yaw, vx, vy], -1)


def best_queries(logits: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The best (query, class) pairs of one sample; a query may come several times, with different classes.

    Args:
        logits: (Q, classes).

    Returns:
        Scores (k,), best first, and flat indices query * classes + class (k,).
    """
    scores = logits.float().sigmoid().flatten()
    best = scores.topk(min(limit, scores.numel()))
    return best.values, best.indices


def within(codes: Tensor, bounds: Sequence[float]) -> Tensor:
    """(n,) which centres lie in ``bounds`` (x0, y0, z0, x1, y1, z1), the border included."""
    centers = codes[:, [0, 1, 4]]
    low, high = (centers.new_tensor(list(part)) for part in (bounds[:3], bounds[3:]))
    return ((centers >= low) & (centers <= high)).all(-1)
