"""How many runs an answer takes.

scipy has no power of TOST: it is the probability that the estimate lies inside the margin less the interval's reach,
averaged over the spread that the runs will happen to show (Owen, 1965; Phillips, 1990).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

MOST_RUNS = 1_000_000
ASSURANCE = 0.8
"""A spread seen in a few runs is itself uncertain: plans take the value that it lies below with this confidence."""

Design = Literal["paired", "welch", "known"]
Array = NDArray[np.float64]
_FINE, _COARSE = ((np.arange(count) + 0.5) / count for count in (1024, 64))


@dataclass(frozen=True)
class Plan:
    """What is to be shown, and how surely."""

    margin: float
    alpha: float
    power: float


def equivalence_power(
    spread: float, design: Design, runs: tuple[int, int], margin: float, alpha: float, difference: float = 0.0
) -> float:
    """Chance that TOST finds equality within ``margin``.

    Args:
        spread: true standard deviation over seeds: of either side's figure, or, ``paired``, of the difference by seed.
        design: ``known``: the tests know the spread, and do not estimate it.
        runs: of either side; ``paired`` takes the first.
        difference: the true one.
    """
    n, m = runs
    error = spread * math.sqrt(1 / n if design == "paired" else 1 / n + 1 / m)
    if error <= 0:
        return float(abs(difference) < margin)
    room = margin - _reach(design, n, m, alpha) * error  # of the estimate on both sides of zero
    inside = stats.norm.cdf((room - difference) / error) - stats.norm.cdf((-room - difference) / error)
    return float(np.clip(inside, 0, None).mean())


def _reach(design: Design, n: int, m: int, alpha: float) -> Array:
    """Half the interval over the true standard error, for all that the runs' spread may turn out to be."""
    if design == "known":
        return np.atleast_1d(stats.norm.isf(alpha))
    if design == "paired":
        return np.sqrt(_seen(n - 1, _FINE)) * stats.t.isf(alpha, n - 1)
    a, b = (_seen(count - 1, _COARSE) / count for count in (n, m))
    squares = a[:, None] + b[None, :]
    freedom = squares**2 / (a[:, None] ** 2 / (n - 1) + b[None, :] ** 2 / (m - 1))
    return np.sqrt(squares / (1 / n + 1 / m)) * stats.t.isf(alpha, freedom)


def _seen(freedom: int, quantiles: Array) -> Array:
    """Equally likely values of the variance that is seen, over the true one."""
    return stats.chi2.ppf(quantiles, freedom) / freedom


def upper_spread(spread: float, freedom: float) -> float:
    """The value that the true standard deviation lies below with confidence :data:`ASSURANCE`."""
    return (
        spread if math.isinf(freedom) else float(spread * math.sqrt(freedom / stats.chi2.ppf(1 - ASSURANCE, freedom)))
    )


def runs_needed(spread: float, design: Design, plan: Plan, difference: float = 0.0) -> int | None:
    """The fewest runs on each side with which equality is found as surely as planned.

    Args:
        spread: true standard deviation over seeds: of a side's figure, or, ``paired``, of the difference by seed.
        difference: the true one; must be inside the margin.

    Returns:
        At least 2; None where even :data:`MOST_RUNS` would not do.
    """

    def enough(runs: int) -> bool:
        reached = equivalence_power(spread, design, (runs, runs), plan.margin, plan.alpha, difference)
        return reached >= plan.power

    low, high = 1, 2
    while not enough(high):
        low, high = high, high * 2
        if high > MOST_RUNS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
