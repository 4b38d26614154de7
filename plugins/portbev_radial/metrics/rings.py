"""AP by distance from the radar: in each ring only predictions and ground truth of that ring are evaluated."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from portbev_radial.metrics.boxes import FrameBoxes, Padded, padded
from portbev_radial.metrics.constants import IOU_THRESHOLDS, MIN_SCORE
from portbev_radial.metrics.iou import overlap
from portbev_radial.metrics.matching import NONE, by_score, match, pair_table
from portbev_radial.metrics.reported import average_precision

EDGES = (0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0)
"""Borders [m] of the rings, horizontal distance of the centre; a ring has its inner border."""


def within(boxes: FrameBoxes, near: float, far: float) -> FrameBoxes:
    """The boxes whose centre is at horizontal distances from ``near`` up to, and without, ``far`` [m]."""
    distance = np.hypot(boxes.rows[:, 0], boxes.rows[:, 1])
    kept = (distance >= near) & (distance < far)
    counts = np.bincount(boxes.frame_index[kept], minlength=len(boxes.frames))
    return FrameBoxes(boxes.frames, boxes.rows[kept], counts)


def rings(predictions: FrameBoxes, ground_truth: FrameBoxes) -> list[dict[str, Any]]:
    """AP seen from above in each ring under the mended rules, equal to an evaluation of that ring alone.

    Returns:
        For each ring ``from``, ``to`` [m], ``BEV_AP`` [per cent], the mean over the IoU thresholds (NaN without ground
        truth), and the numbers of boxes ``predicted`` and ``annotated``.
    """
    predicted, truth = padded(predictions), padded(ground_truth)
    predicted = Padded(predicted.boxes, predicted.valid & (predicted.boxes[..., 7] > MIN_SCORE))
    order = by_score(predicted)
    with np.errstate(over="ignore", invalid="ignore"):  # a box of 1e30 m is only a false positive
        table = pair_table(predicted, truth, partial(overlap, "bev", "fixed"), slack=0.0)
    distances = [np.hypot(boxes.boxes[..., 0], boxes.boxes[..., 1]) for boxes in (predicted, truth)]
    results = []
    for near, far in pairwise(EDGES):
        found, there = (
            boxes.valid & (distance >= near) & (distance < far)
            for boxes, distance in zip((predicted, truth), distances, strict=True)
        )
        pairs = np.where(found[:, :, None] & there[:, None, :], table, NONE)
        scores, truths, aps = predicted.boxes[..., 7][found], int(there.sum()), []
        for threshold in IOU_THRESHOLDS if truths else ():
            hits = (match(pairs, order, threshold, forgotten=None) >= 0)[found]
            ranked = hits[np.argsort(-scores, kind="stable")]
            aps.append(100 * average_precision(ranked, truths) if len(ranked) else 0.0)
        mean = float(np.mean(aps)) if aps else float("nan")
        results.append({"from": near, "to": far, "BEV_AP": mean, "predicted": int(found.sum()), "annotated": truths})
    return results
