"""Who takes whom, in all frames at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from portbev_radial.metrics.boxes import Array, Integers, Mask, Padded

Iou = Callable[[Array, Array], Array]

_BLOCK = 1 << 20  # pairs at a time

NONE = -1.0
"""Overlap of what is no pair. Less than any threshold."""


def pair_table(first: Padded, second: Padded, iou: Iou, *, slack: float = 0.0) -> Array:
    """IoU (F, K1, K2) of all pairs of the same frame; ``NONE`` where a box is missing.

    Args:
        iou: overlaps (n,) of pairs of rows; it is asked only for pairs that can touch.
        slack: how far boxes may be moved before, as a fraction of their distance from the radar.
    """
    table = np.empty((*first.there.shape, second.there.shape[1]))
    for part in _blocks(table.shape):
        one, other = first.part(part), second.part(part)
        pairs = one.there[:, :, None] & other.there[:, None, :]
        frame, left, right = np.nonzero(pairs & _can_touch(one.boxes, other.boxes, slack))
        values = iou(one.boxes[frame, left], other.boxes[frame, right])
        table[part] = np.where(pairs, 0.0, NONE)
        table[part][frame, left, right] = np.nan_to_num(values, nan=0.0)  # of boxes so large that areas overflow
    return table


def _can_touch(first: Array, second: Array, slack: float) -> Mask:
    """(F, K1, K2) whether circles around the footprints meet, with a little room for rounding."""
    reach, distance = [], []
    for boxes in (first, second):
        distance.append(np.hypot(boxes[..., 0], boxes[..., 1]))
        reach.append(np.hypot(boxes[..., 3], boxes[..., 4]) / 2 + slack * distance[-1] + 0.01)
    dx, dy = (first[:, :, None, axis] - second[:, None, :, axis] for axis in (0, 1))
    limit = reach[0][:, :, None] + reach[1][:, None, :]
    touching: Mask = dx * dx + dy * dy <= limit * limit
    return touching


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Frames of a table in parts of about a million pairs."""
    step = max(1, _BLOCK // (shape[1] * shape[2]))
    return (slice(begin, begin + step) for begin in range(0, shape[0], step))


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


def suppress(predictions: Padded, iou: Iou, threshold: float) -> Mask:
    """(F, K) True for predictions that greedy non-maximum suppression keeps: none kept before overlaps more than that.

    Args:
        predictions: by falling score.
        iou: overlaps (n,) of pairs of rows.
    """
    kept = predictions.there.copy()
    room = kept.shape[1]
    for part in _blocks((len(kept), room, room)):
        some = predictions.part(part)
        hides = pair_table(some, some, iou) > threshold
        for rank in range(1, room):
            kept[part, rank] &= ~(kept[part, :rank] & hides[:, rank, :rank]).any(1)
    return kept
