"""Several questions asked at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values in the given order: rejecting those below alpha makes any false rejection as rare as alpha.

    Source: Holm, 1979. Holds for tests that depend on each other too.
    """
    order = np.argsort(p_values, kind="stable")
    count = len(p_values)
    steps = np.asarray(p_values, float)[order] * np.arange(count, 0, -1)
    adjusted = np.empty(count)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(value) for value in adjusted]
