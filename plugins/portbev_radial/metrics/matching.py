"""Matching of predictions with ground truth, and non-maximum suppression, in all frames at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from portbev_radial.metrics.boxes import Array, Integers, Mask, Padded

Iou = Callable[[Array, Array], Array]

_BLOCK = 1 << 20  # pairs at a time

NONE = -1.0
"""Overlap that stands for "no pair"; it is below any threshold."""


def pair_table(first: Padded, second: Padded, iou: Iou, *, slack: float = 0.0) -> Array:
    """IoU (F, K1, K2) of all pairs of the same frame; ``NONE`` where a box is missing.

    Args:
        iou: overlaps (n,) of pairs of rows; it is called only with pairs that can overlap.
        slack: how far ``iou`` may move boxes, as a fraction of their distance from the radar.
    """
    table = np.empty((*first.valid.shape, second.valid.shape[1]))
    for part in _blocks(table.shape):
        left_boxes, right_boxes = first.part(part), second.part(part)
        pairs = left_boxes.valid[:, :, None] & right_boxes.valid[:, None, :]
        frame, left, right = np.nonzero(pairs & _can_touch(left_boxes.boxes, right_boxes.boxes, slack))
        values = iou(left_boxes.boxes[frame, left], right_boxes.boxes[frame, right])
        table[part] = np.where(pairs, 0.0, NONE)
        table[part][frame, left, right] = np.nan_to_num(
            values, nan=0.0
        )  # NaN where boxes are so large that areas overflow
    return table


def _can_touch(first: Array, second: Array, slack: float) -> Mask:
    """(F, K1, K2) whether circles around the footprints intersect, with 1 cm of margin for rounding."""
    reach, distance = [], []
    for boxes in (first, second):
        distance.append(np.hypot(boxes[..., 0], boxes[..., 1]))
        reach.append(np.hypot(boxes[..., 3], boxes[..., 4]) / 2 + slack * distance[-1] + 0.01)
    dx, dy = (first[:, :, None, axis] - second[:, None, :, axis] for axis in (0, 1))
    limit = reach[0][:, :, None] + reach[1][:, None, :]
    touching: Mask = dx * dx + dy * dy <= limit * limit
    return touching


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Split the frames of a table into slices of about a million pairs."""
    step = max(1, _BLOCK // (shape[1] * shape[2]))
    return (slice(begin, begin + step) for begin in range(0, shape[0], step))


def by_score(predictions: Padded) -> Integers:
    """(F, K) indices by descending score; equal scores keep their order, padding comes last."""
    keys = np.where(predictions.valid, -predictions.boxes[..., 7], np.inf)
    return np.argsort(keys, axis=1, kind="stable")


def match(table: Array, order: Integers, threshold: float, *, forgotten: Mask | None = None) -> Integers:
    """Match each prediction, by descending score, with the free ground truth that it overlaps most.

    Args:
        table: (F, P, G) IoU, ``NONE`` for pairs that must not match.
        order: (F, P) indices of the predictions by descending score.
        threshold: least IoU of a match. Of ground truths with equal IoU the last one is taken, as in COCO's tools.
        forgotten: (F, P) predictions whose matched ground truth stays free.

    Returns:
        (F, P) index of the matched ground truth, or -1.
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


def suppress(predictions: Padded, iou: Iou, threshold: float) -> Mask:
    """Greedy non-maximum suppression: (F, K) True for predictions that are kept.

    Args:
        predictions: by descending score.
        iou: overlaps (n,) of pairs of rows.
        threshold: a prediction is dropped if its IoU with a kept one of higher score exceeds this.
    """
    kept = predictions.valid.copy()
    capacity = kept.shape[1]
    for part in _blocks((len(kept), capacity, capacity)):
        block = predictions.part(part)
        overlapping = pair_table(block, block, iou) > threshold
        for rank in range(1, capacity):
            kept[part, rank] &= ~(kept[part, :rank] & overlapping[:, rank, :rank]).any(1)
    return kept
