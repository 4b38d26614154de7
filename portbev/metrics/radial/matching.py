"""Who takes whom, in all frames at once. May import: boxes, constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from portbev.metrics.radial.boxes import Array, Integers, Mask, Padded

NONE = -1.0
"""Overlap of what is no pair. Less than any threshold."""


def pair_table(first: Padded, second: Padded, iou: Callable[[Array, Array], Array]) -> NDArray[np.float64]:
    """IoU (F, K1, K2) of all pairs of the same frame; ``NONE`` where a box is missing."""
    pairs = first.there[:, :, None] & second.there[:, None, :]
    frame, left, right = np.nonzero(pairs)
    table = np.full(pairs.shape, NONE)
    values = iou(first.boxes[frame, left], second.boxes[frame, right])
    table[pairs] = np.nan_to_num(values, nan=0.0)  # of boxes so large that areas overflow
    return table


def by_score(predictions: Padded) -> Integers:
    """(F, K) positions by falling score; the earlier of equal ones first, missing boxes last."""
    keys = np.where(predictions.there, -predictions.boxes[..., 7], np.inf)
    return np.argsort(keys, axis=1, kind="stable")


def match(table: Array, order: Integers, threshold: float, *, forgotten: Mask | None = None) -> Integers:
    """Give each prediction, by falling score, the free ground truth that it overlaps most.

    Args:
        table: (F, P, G) IoU, ``NONE`` for what may not pair.
        order: (F, P) predictions by falling score.
        threshold: the least IoU of a pair. Of equally good ground truths the last is taken, as COCO's tools do.
        forgotten: (F, P) predictions whose ground truth stays free.

    Returns:
        (F, P) position of the ground truth that is taken, or -1.
    """
    taken = np.full(table.shape[:2], -1, np.int64)
    free = np.ones((table.shape[0], table.shape[2]), np.bool_)
    frames = np.arange(len(table))
    least = min(threshold, 1 - 1e-10)
    for prediction in order.T:
        offers = np.where(free, table[frames, prediction], NONE)
        best = offers.shape[1] - 1 - np.argmax(offers[:, ::-1], axis=1)
        good = offers[frames, best] >= least
        taken[frames[good], prediction[good]] = best[good]
        keeps = good if forgotten is None else good & ~forgotten[frames, prediction]
        free[frames[keeps], best[keeps]] = False
    return taken


def suppress(table: Array, order: Integers, threshold: float) -> Mask:
    """(F, P) True for predictions that greedy non-maximum suppression keeps: none better overlaps more than that."""
    frames = np.arange(len(table))
    kept = np.zeros(order.shape, np.bool_)
    for prediction in order.T:
        hidden = (kept & (table[frames, prediction] > threshold)).any(1)
        kept[frames, prediction] = ~hidden
    return kept
