"""mAP by distance from the ego: in each ring only predictions and ground truth of that ring are evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.metrics.arrays import GroundTruthArrays, PredictionArrays
from portbev_nuscenes.metrics.config import DetectionConfig
from portbev_nuscenes.metrics.curves import curve
from portbev_nuscenes.metrics.filters import ego_distance
from portbev_nuscenes.metrics.matching import Candidates, match

EDGES = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0)
"""Borders [m] of the rings; a ring has its inner border."""


def rings(
    kept: PredictionArrays,
    truth: GroundTruthArrays,
    order: NDArray[np.int64],
    pairs: Candidates,
    config: DetectionConfig,
    edges: Sequence[float] = EDGES,
) -> list[dict[str, Any]]:
    """mAP in each ring, equal to an evaluation of that ring alone.

    Args:
        kept, truth: the boxes that are evaluated.
        order: (P,) row of ``kept`` at each rank.
        pairs: candidates up to the largest threshold.

    Returns:
        For each ring ``from``, ``to`` [m], ``mAP`` over the classes with ground truth there (NaN without any), and
        the numbers of boxes ``predicted`` and ``annotated``.
    """
    found_at, there_at = ego_distance(kept, truth)[order], ego_distance(truth, truth)
    labels, scores = kept.label[order], kept.score[order]
    results = []
    for near, far in pairwise(edges):
        found, there = (found_at >= near) & (found_at < far), (there_at >= near) & (there_at < far)
        both = np.flatnonzero(found[pairs.rank] & there[pairs.truth])
        own = Candidates(pairs.rank[both], pairs.truth[both], pairs.distance[both])
        truths = np.bincount(truth.label[there], minlength=len(DETECTION_CLASSES))
        hits = [match(own, threshold, len(truth))[0] for threshold in config.distance_thresholds]
        aps = []
        for label in np.flatnonzero(truths):
            ranks = np.flatnonzero(found & (labels == label))
            for matched in hits:
                of_class = matched[labels[matched] == label]
                places = np.searchsorted(ranks, of_class)
                aps.append(curve(scores[ranks], places, int(truths[label]), {}).average_precision(config))
        mean = float(np.mean(aps)) if aps else float("nan")
        counts = {"predicted": int(found.sum()), "annotated": int(there.sum())}
        results.append({"from": near, "to": far, "mAP": mean, **counts})
    return results
