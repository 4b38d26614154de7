"""GridMask: a regular grid of squares is blanked in training pictures (Chen et al., 2020, arXiv:2001.04086).

With BEVFormer's settings: stripes along rows and columns without rotation, half of each period wide. The mask is
inverted, so that pixels on a stripe of either direction are kept.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.rng import Draws

PROBABILITY = 0.7


def draw_grid_mask(size: tuple[int, int], rng: Draws) -> NDArray[np.bool_]:
    """(H, W) True where a picture of ``size`` is kept. With a probability of 0.3 all of it is kept.

    Order of the draws: whether to mask, period, first stripe of rows, first stripe of columns.
    """
    height, width = size
    if rng.uniform() > PROBABILITY:
        return np.ones(size, bool)
    period = 2 + int(rng.choice(height - 2))
    rows = _stripes(height, period, int(rng.choice(period)))
    columns = _stripes(width, period, int(rng.choice(period)))
    return rows[:, None] | columns[None, :]


def _stripes(side: int, period: int, first: int) -> NDArray[np.bool_]:
    """(side,) True on stripes: the middle part of a line of 1.5 times that length.

    Quirk of the original: the line has as many stripes as whole periods, so that its end may lack one.
    """
    line = np.zeros(int(1.5 * side), bool)
    thickness = min(max(int(period * 0.5 + 0.5), 1), period - 1)
    for number in range(len(line) // period):
        start = number * period + first
        line[start : start + thickness] = True
    skipped = (len(line) - side) // 2
    return line[skipped : skipped + side]
