"""Box codes of the network and boxes of the project.

The code is [x, y, log dx, log dy, z, log dz, sin, cos] in the radar frame: centre in metres, and the heading relative
to the direction to the box, which the original takes as atan2(x, y). For boxes see ``portbev.boxes``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from portbev.boxes import wrap_angle

Floats = NDArray[np.float32]
CODE = 8


def _direction(x: Floats, y: Floats, official: bool) -> Floats:
    return np.arctan2(x, y) if official else np.arctan2(y, x)


def encode(boxes: ArrayLike, *, official: bool) -> Floats:
    """Boxes (n, 9) to codes (n, 8), not finite where a size is not positive."""
    x, y, z, dx, dy, dz, yaw, _, _ = np.asarray(boxes, np.float32).reshape(-1, 9).T
    heading = yaw - _direction(x, y, official)
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = [np.log(size) for size in (dx, dy, dz)]
    return np.stack([x, y, *sizes[:2], z, sizes[2], np.sin(heading), np.cos(heading)], -1)


def decode(codes: ArrayLike, *, official: bool) -> Floats:
    """Codes (n, 8) to boxes (n, 9); the velocity is 0."""
    x, y, dx, dy, z, dz, sin, cos = np.asarray(codes, np.float32).reshape(-1, CODE).T
    yaw = wrap_angle(_direction(x, y, official) + np.arctan2(sin, cos)).astype(np.float32)
    still = np.zeros_like(x)
    return np.stack([x, y, z, np.exp(dx), np.exp(dy), np.exp(dz), yaw, still, still], -1)


def within(codes: Tensor, bounds: Sequence[float]) -> Tensor:
    """(n,) which centres lie in ``bounds`` (x0, y0, z0, x1, y1, z1), the border included."""
    centers = codes[:, [0, 1, 4]]
    low, high = (centers.new_tensor(list(part)) for part in (bounds[:3], bounds[3:]))
    return ((centers >= low) & (centers <= high)).all(-1)
