"""How many runs an answer takes.

scipy has no power of TOST: it is the probability that the estimate lies inside the margin less the interval's reach,
averaged over the spread that the runs will happen to show (Owen, 1965; Phillips, 1990). That is for normal noise; noise
with heavier tails, which few runs cannot tell from it, is simulated (:mod:`portbev.parity.statistics.noise`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from portbev.parity.statistics.noise import KINDS, MOST, Kind, samples

MOST_RUNS = 1_000_000

Design = Literal["paired", "welch", "known"]
Array = NDArray[np.float64]
_FINE, _COARSE = ((np.arange(count) + 0.5) / count for count in (1024, 64))
_HEAVIEST: Kind = "t3"


@dataclass(frozen=True)
class Plan:
    """What is to be shown, and how surely."""

    margin: float
    alpha: float
    power: float


def equivalence_power(
    spread: float, design: Design, runs: tuple[int, int], margin: float, alpha: float, difference: float = 0.0
) -> float:
    """Chance that TOST finds equality within ``margin``, with normal noise.

    Args:
        spread: true standard deviation over seeds: of either side's figure, or, ``paired``, of the difference by seed.
        design: ``known``: the tests know the spread, and do not estimate it.
        runs: of either side; ``paired`` takes the first.
        difference: the true one.
    """
    n, m = runs
    error = _error(spread, design, runs)
    if error <= 0:
        return float(abs(difference) < margin)
    room = margin - _reach(design, n, m, alpha) * error  # of the estimate on both sides of zero
    inside = stats.norm.cdf((room - difference) / error) - stats.norm.cdf((-room - difference) / error)
    return float(np.clip(inside, 0, None).mean())


def least_power(
    spread: float, design: Design, runs: tuple[int, int], margin: float, alpha: float, difference: float = 0.0
) -> float:
    """:func:`equivalence_power` under the noise that leaves least of it: normal, Laplace, t5 or t3."""
    powers = [equivalence_power(spread, design, runs, margin, alpha, difference)]
    if spread > 0 and max(runs[:1] if design == "paired" else runs) <= MOST:
        for kind in KINDS[1:]:
            estimate, reach = _experiments(kind, design, runs, alpha)
            powers.append(float((np.abs(spread * estimate + difference) + spread * reach < margin).mean()))
    return min(powers)


@lru_cache(maxsize=256)
def _experiments(kind: Kind, design: Design, runs: tuple[int, int], alpha: float) -> tuple[Array, Array]:
    """Simulated experiments on equal devices of spread 1: estimates, and half of their intervals."""
    (mean, variance), (mean_b, variance_b) = (samples(kind, side, count) for side, count in enumerate(runs))
    n, m = runs
    if design == "paired":
        return mean, np.sqrt(variance / n) * stats.t.isf(alpha, n - 1)
    if design == "known":
        return mean - mean_b, np.full_like(mean, stats.norm.isf(alpha) * math.sqrt(1 / n + 1 / m))
    squares, freedom = _welch(variance / n, variance_b / m, n, m)
    return mean - mean_b, np.sqrt(squares) * stats.t.isf(alpha, freedom)


def _error(spread: float, design: Design, runs: tuple[int, int]) -> float:
    return spread * math.sqrt(1 / runs[0] if design == "paired" else 1 / runs[0] + 1 / runs[1])


def _reach(design: Design, n: int, m: int, alpha: float) -> Array:
    """Half the interval over the true standard error, for all that the runs' spread may turn out to be."""
    if design == "known":
        return np.atleast_1d(stats.norm.isf(alpha))
    if design == "paired":
        return np.sqrt(_seen(n - 1, _FINE)) * stats.t.isf(alpha, n - 1)
    a, b = (_seen(count - 1, _COARSE) / count for count in (n, m))
    squares, freedom = _welch(a[:, None], b[None, :], n, m)
    return np.sqrt(squares / (1 / n + 1 / m)) * stats.t.isf(alpha, freedom)


def _welch(a: Array, b: Array, n: int, m: int) -> tuple[Array, Array]:
    """The squared error of a difference of two means with squared errors ``a`` and ``b``, and its freedom."""
    squares = a + b
    return squares, squares**2 / (a**2 / (n - 1) + b**2 / (m - 1))


def _seen(freedom: int, quantiles: Array) -> Array:
    """Equally likely values of the variance that is seen, over the true one."""
    return stats.chi2.ppf(quantiles, freedom) / freedom


@lru_cache(maxsize=256)
def caution(design: Design, runs: tuple[int, int], alpha: float, power: float) -> float:
    """What to multiply a spread seen in ``runs`` by, so that a plan made with it has its power on average.

    A spread from few runs is itself a draw: who happens to see too small a one plans too few runs, and loses more
    power than is gained by those who see too large a one, the more so the nearer the power is to 1 and the heavier the
    tails (a few runs mostly miss them). The factor is the one with which the power, averaged over the spreads that so
    many runs show under the heaviest noise, is the planned one.

    Args:
        design: ``known``: the spread was not seen in the runs, and is taken as it is.
        runs: that showed the spread; ``paired`` takes the first. A side of one run shows nothing.
    """
    if design == "known":
        return 1.0
    counts = [min(count, MOST) for count in (runs[:1] if design == "paired" else runs)]
    weights = [0.0 if count == 1 else 1.0 if 1 in counts else 1 / count for count in counts]
    variance = sum(
        weight * samples(_HEAVIEST, side, count)[1]
        for side, (count, weight) in enumerate(zip(counts, weights, strict=True))
        if weight
    ) / sum(weights)
    # With many runs the margin is `needed` standard errors wide where the power is the planned one; errors go with the
    # root of the number of runs, and that number with the square of the spread.
    critical, needed = stats.norm.isf(alpha), stats.norm.isf(alpha) + stats.norm.isf((1 - power) / 2)
    ratio = np.sqrt(variance)

    def short(logarithm: float) -> float:
        reached = 2 * stats.norm.cdf(needed * math.exp(logarithm) * ratio - critical) - 1
        return float(np.clip(reached, 0, None).mean() - power)

    return max(1.0, math.exp(optimize.brentq(short, math.log(1e-2), math.log(1e6), xtol=1e-4)))


def runs_needed(spread: float, design: Design, plan: Plan, difference: float = 0.0) -> int | None:
    """The fewest runs on each side with which equality is found as surely as planned, whichever the noise.

    Args:
        spread: true standard deviation over seeds: of a side's figure, or, ``paired``, of the difference by seed. One
            that was seen in few runs is multiplied by :func:`caution` first.
        difference: the true one; must be inside the margin.

    Returns:
        At least 2; None where even :data:`MOST_RUNS` would not do.
    """

    def enough(runs: int) -> bool:
        reached = least_power(spread, design, (runs, runs), plan.margin, plan.alpha, difference)
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
