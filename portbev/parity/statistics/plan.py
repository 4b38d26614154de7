"""How many runs an answer takes.

scipy has no power of TOST: it is the probability that the estimate lies inside the margin less the interval's reach,
averaged over the spread that the runs will happen to show (Owen, 1965; Phillips, 1990).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

_QUANTILES = (np.arange(1024) + 0.5) / 1024
MOST_RUNS = 1_000_000
ASSURANCE = 0.8
"""A spread seen in a few runs is itself uncertain: plans take the value that it lies below with this confidence."""

Design = Literal["paired", "welch"]


@dataclass(frozen=True)
class Plan:
    """What is to be shown, and how surely."""

    margin: float
    alpha: float
    power: float


def equivalence_power(error: float, freedom: float, margin: float, alpha: float, difference: float = 0.0) -> float:
    """Chance that TOST finds equality within ``margin``.

    Args:
        error: true standard error of the estimate.
        freedom: degrees of freedom with which it is estimated; infinite where it is known.
        difference: the true one.
    """
    if error <= 0:
        return float(abs(difference) < margin)
    if math.isinf(freedom):
        seen, quantile = np.ones(1), stats.norm.isf(alpha)
    else:
        seen, quantile = np.sqrt(stats.chi2.ppf(_QUANTILES, freedom) / freedom), stats.t.isf(alpha, freedom)
    room = margin - quantile * error * seen  # of the estimate on both sides of zero
    inside = stats.norm.cdf((room - difference) / error) - stats.norm.cdf((-room - difference) / error)
    return float(np.clip(inside, 0, None).mean())


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
        share, freedom = (1.0, runs - 1) if design == "paired" else (2.0, 2 * runs - 2)
        reached = equivalence_power(spread * math.sqrt(share / runs), freedom, plan.margin, plan.alpha, difference)
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
