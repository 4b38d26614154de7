"""Joins of index ranges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def expand(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs (i, j) with ``starts[i] <= j < starts[i] + counts[i]``, ordered by i, then j.

    Returns:
        (N,) indices i and (N,) indices j, N being the sum of ``counts``.
    """
    left = np.repeat(np.arange(len(counts)), counts)
    right = np.arange(len(left)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return left, right
