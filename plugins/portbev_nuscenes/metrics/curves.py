"""Precision over recall, average precision and true-positive errors of one class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from portbev_nuscenes.metrics.config import RECALL_POINTS, TP_ERRORS, DetectionConfig

Floats = NDArray[np.float64]

RECALL = np.linspace(0, 1, RECALL_POINTS)
"""The recalls at which every curve is sampled."""


@dataclass(frozen=True)
class Curve:
    """Curves of one class at one distance threshold, each (101,) float64 over ``RECALL``.

    Attributes:
        precision: interpolated precision; 0 beyond the highest recall reached.
        confidence: score at which the recall is reached; 0 beyond the highest recall reached.
        errors: name of a true-positive error -> its mean over the matches with at least that score.
    """

    precision: Floats = field(default_factory=lambda: np.zeros(RECALL_POINTS))
    confidence: Floats = field(default_factory=lambda: np.zeros(RECALL_POINTS))
    errors: dict[str, Floats] = field(default_factory=lambda: {name: np.ones(RECALL_POINTS) for name in TP_ERRORS})

    def average_precision(self, config: DetectionConfig) -> float:
        """Area under the curve above ``min_precision`` and beyond ``min_recall``, divided by the largest possible."""
        above = self.precision[config.first_recall_index :] - config.min_precision
        above[above < 0] = 0
        return float(np.mean(above)) / (1.0 - config.min_precision)

    def error(self, name: str, config: DetectionConfig) -> float:
        """Mean of an error from ``min_recall`` to the highest recall reached; 1 if that is below ``min_recall``."""
        reached = np.flatnonzero(self.confidence)
        last = int(reached[-1]) if len(reached) else 0
        if last < config.first_recall_index:
            return 1.0
        return float(np.mean(self.errors[name][config.first_recall_index : last + 1]))


def curve(scores: Floats, hits: NDArray[np.int64], truths: int, errors: dict[str, Floats]) -> Curve:
    """The curves of one class.

    Args:
        scores: (P,) scores of all predictions of the class, in descending order.
        hits: (M,) indices of the predictions that match, ascending.
        truths: number of ground truths of the class.
        errors: name -> (M,) error of each match, NaN where it is undefined.
    """
    if truths == 0 or len(hits) == 0:
        return Curve()
    matched = np.zeros(len(scores))
    matched[hits] = 1.0
    true_positives = np.cumsum(matched)
    recall = true_positives / float(truths)
    true_positives /= np.arange(1, len(scores) + 1)  # precision
    confidence = np.interp(RECALL, recall, scores, right=0)
    # scores are descending, numpy.interp needs ascending ones
    means = {
        name: np.interp(confidence[::-1], scores[hits][::-1], running_mean(values)[::-1])[::-1]
        for name, values in errors.items()
    }
    return Curve(np.interp(RECALL, recall, true_positives, right=0), confidence, means)


def running_mean(values: Floats) -> Floats:
    """(M,) mean of the values up to each one, NaN ignored; 0 before the first number, 1 everywhere if all are NaN."""
    defined = ~np.isnan(values)
    if not defined.any():
        return np.ones(len(values))
    count = np.cumsum(defined)
    total = np.nancumsum(values)
    return np.divide(total, count, out=np.zeros_like(total), where=count != 0)
