"""Noise with heavier tails than the normal one, by simulation: what t-tests find of it in a few runs.

Scores over seeds need not be normal: a seed now and then fails badly. Five runs cannot show which noise they have, so a
plan is for the worst of :data:`KINDS`, all of standard deviation 1. Draws are fixed: a report says the same twice.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Kind = Literal["normal", "laplace", "t5", "t3"]
KINDS: tuple[Kind, ...] = ("normal", "laplace", "t5", "t3")
"""Normal, Laplace, and Student's t with 5 and 3 degrees of freedom (whose fourth moment is infinite)."""

TIMES = 8000
MOST = 64
"""Runs on a side beyond which heavy tails take less than 0.01 of the power under normal noise."""


def draw(kind: Kind, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Noise of standard deviation 1."""
    if kind == "normal":
        return generator.standard_normal(shape)
    if kind == "laplace":
        return generator.laplace(size=shape) / math.sqrt(2)
    freedom = int(kind[1:])
    return generator.standard_t(freedom, shape) / math.sqrt(freedom / (freedom - 2))


@lru_cache(maxsize=8)
def _draws(kind: Kind, side: int) -> Array:
    """(:data:`TIMES`, :data:`MOST`)."""
    return draw(kind, (TIMES, MOST), np.random.default_rng((KINDS.index(kind), side)))


@lru_cache(maxsize=64)
def samples(kind: Kind, side: int, runs: int) -> tuple[Array, Array]:
    """Means and unbiased variances, each (:data:`TIMES`,), of experiments with ``runs`` (at most :data:`MOST`) runs.

    Args:
        side: 0 or 1; the two are independent.
    """
    drawn = _draws(kind, side)[:, :runs]
    return drawn.mean(axis=1), drawn.var(axis=1, ddof=1) if runs > 1 else np.full(TIMES, np.nan)
