"""Which annotated boxes count: one rule for training, scoring and drawing."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from portbev_radial.config import RadialData

Array = NDArray[np.float64]


def counting(boxes: Array, section: RadialData) -> tuple[Array, Counter[str]]:
    """Boxes (n, 9) that are learnt from and scored against, and why others are not: reason -> how many.

    Their numbers are finite, their extents positive, and their centre lies strictly inside ``data.x_range`` and
    ``data.y_range``.
    """
    finite = np.isfinite(boxes).all(1)
    extended = (boxes[:, 3:6] > 0).all(1)
    inside = np.ones(len(boxes), bool)
    for axis, (low, high) in enumerate((section.x_range, section.y_range)):
        inside &= (boxes[:, axis] > low) & (boxes[:, axis] < high)
    reasons = {
        "not finite": ~finite,
        "without extent": finite & ~extended,
        "outside the range": finite & extended & ~inside,
    }
    dropped = Counter({reason: int(mask.sum()) for reason, mask in reasons.items() if mask.any()})
    return np.asarray(boxes[finite & extended & inside]), dropped


def told(dropped: Counter[str], section: RadialData, split: str) -> list[str]:
    """A line on the boxes of a split that do not count, if there are any."""
    if not dropped:
        return []
    counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
    x, y = (f"{low:g} to {high:g}" for low, high in (section.x_range, section.y_range))
    what = f"{dropped.total()} boxes of {split} are neither trained on nor scored: {counts}"
    return [f"{what} (data.x_range {x} m, data.y_range {y} m)"]
