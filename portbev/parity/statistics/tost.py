"""Two one-sided tests (TOST; Schuirmann, 1987) of equality within a margin, beside the test for no difference.

The last axis of every sample is that of the runs, so that thousands of experiments can be judged at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What the tests say of side minus baseline; each an array of the experiments' shape (() for one).

    Attributes:
        estimate: the difference of the means.
        low, high: its confidence interval of level ``1 - 2 alpha``, which lies inside the margin exactly where
            ``p_equivalent < alpha``.
        p_equivalent: the larger p-value of the two one-sided tests (difference above -margin, below margin).
        p_different: two-sided, of no difference.
        error: standard error of the estimate.
        freedom: degrees of freedom of that; infinite where the spread is known.
    """

    estimate: Array
    low: Array
    high: Array
    p_equivalent: Array
    p_different: Array
    error: Array
    freedom: Array


def paired(side: ArrayLike, baseline: ArrayLike, margin: float, alpha: float) -> Outcome:
    """The same seeds on both sides, in the same order: (..., n), n at least 2."""
    differences = np.asarray(side, float) - np.asarray(baseline, float)

    def test(shift: float, alternative: str) -> Any:
        return stats.ttest_1samp(differences, -shift, axis=-1, alternative=alternative)

    runs = differences.shape[-1]
    error = differences.std(axis=-1, ddof=1) / np.sqrt(runs)
    return _outcome(test, differences.mean(axis=-1), error, margin, alpha)


def welch(side: ArrayLike, baseline: ArrayLike, margin: float, alpha: float) -> Outcome:
    """Independent runs, spreads that may differ: (..., n) and (..., m), each at least 2 (Welch, 1947)."""
    a, b = np.asarray(side, float), np.asarray(baseline, float)

    def test(shift: float, alternative: str) -> Any:
        return stats.ttest_ind(a + shift, b, axis=-1, equal_var=False, alternative=alternative)

    error = np.sqrt(a.var(axis=-1, ddof=1) / a.shape[-1] + b.var(axis=-1, ddof=1) / b.shape[-1])
    return _outcome(test, a.mean(axis=-1) - b.mean(axis=-1), error, margin, alpha)


def pooled(side: ArrayLike, baseline: ArrayLike, margin: float, alpha: float) -> Outcome:
    """One of the two has a single run, (..., 1), and is taken to spread like the other (Student's test)."""
    a, b = np.asarray(side, float), np.asarray(baseline, float)
    n, m = a.shape[-1], b.shape[-1]
    freedom = n + m - 2
    squares = sum(((x - x.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1) for x in (a, b))
    error = np.sqrt(squares / freedom * (1 / n + 1 / m))
    return _from_distribution(stats.t(freedom), a.mean(axis=-1) - b.mean(axis=-1), error, margin, alpha, freedom)


def known_spread(side: ArrayLike, baseline: ArrayLike, spread: float, margin: float, alpha: float) -> Outcome:
    """Runs, single ones too, whose standard deviation over seeds is known from elsewhere."""
    a, b = np.asarray(side, float), np.asarray(baseline, float)
    error = np.asarray(spread * np.sqrt(1 / a.shape[-1] + 1 / b.shape[-1]))
    return _from_distribution(stats.norm(), a.mean(axis=-1) - b.mean(axis=-1), error, margin, alpha, np.inf)


def _outcome(test: Callable[[float, str], Any], estimate: Array, error: Array, margin: float, alpha: float) -> Outcome:
    none = test(0.0, "two-sided")
    interval = none.confidence_interval(1 - 2 * alpha)
    above, below = test(margin, "greater").pvalue, test(-margin, "less").pvalue
    return Outcome(
        estimate=estimate,
        low=np.asarray(interval.low),
        high=np.asarray(interval.high),
        p_equivalent=np.maximum(above, below),
        p_different=np.asarray(none.pvalue),
        error=error,
        freedom=np.asarray(none.df, float),
    )


def _from_distribution(
    distribution: Any, estimate: Array, error: Array, margin: float, alpha: float, freedom: float
) -> Outcome:
    reach = distribution.isf(alpha) * error
    above, below = distribution.sf((estimate + margin) / error), distribution.cdf((estimate - margin) / error)
    return Outcome(
        estimate=estimate,
        low=estimate - reach,
        high=estimate + reach,
        p_equivalent=np.maximum(above, below),
        p_different=2 * distribution.sf(np.abs(estimate) / error),
        error=error,
        freedom=np.asarray(freedom, float),
    )
