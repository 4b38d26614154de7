"""The reported evaluation: AP, recall and errors by overlap, threshold and range.

It follows COCO's rules: predictions are matched by descending score with one ground truth each, and AP is the mean of
the precision at 101 recalls. The original has these quirks, which ``fixed`` has not:

* in a range bin, frames without ground truth or without predictions are left out, and so are their false positives and
  misses;
* the ground truth matched by the very first prediction stays free, so that it can be matched a second time;
* the overlaps have quirks of their own, see :mod:`portbev_radial.metrics.iou`;
* a box at exactly 50 m is in no bin; ``fixed`` puts it into the farther one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from portbev_radial.metrics.boxes import Array, Integers, Mask, Padded
from portbev_radial.metrics.constants import (
    IOU_THRESHOLDS,
    LET_TOLERANCE,
    MIN_SCORE,
    OVERLAPS,
    RANGES,
    RECALL_POINTS,
    TP_ERRORS,
    Overlap,
    Quirks,
)
from portbev_radial.metrics.iou import overlap
from portbev_radial.metrics.matching import NONE, by_score, match, pair_table


@dataclass(frozen=True)
class Score:
    """One cell of the reported evaluation.

    Attributes:
        ap, recall: per cent.
        tp_iou: mean IoU of the matched pairs; 0 without pairs.
        tp_errors: name -> mean absolute error of the pairs [m, rad]; NaN without pairs. Yaw errors are modulo half a
            turn.
        ground_truth, predictions, pairs: numbers of evaluated boxes and of matched pairs.
    """

    ap: float = 0.0
    recall: float = 0.0
    tp_iou: float = 0.0
    tp_errors: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(TP_ERRORS, float("nan")))
    ground_truth: int = 0
    predictions: int = 0
    pairs: int = 0


Cell = tuple[Overlap, float, str]
"""Overlap, IoU threshold, name of the range bin."""


def reported_scores(predictions: Padded, truth: Padded, quirks: Quirks) -> dict[Cell, Score]:
    """Score every combination of overlap, IoU threshold and range bin.

    For ``official`` the predictions must be rounded to float32 before, as the original stores them.
    """
    predictions = Padded(predictions.boxes, predictions.valid & (predictions.boxes[..., 7] > MIN_SCORE))
    order = by_score(predictions)
    masks = {name: _in_range(predictions, truth, bounds, quirks) for name, bounds in RANGES.items()}
    scores: dict[Cell, Score] = {}
    for kind in OVERLAPS:
        slack = LET_TOLERANCE if kind == "let" else 0.0
        table = pair_table(predictions, truth, partial(overlap, kind, quirks), slack=slack)
        for threshold in IOU_THRESHOLDS:
            for name, (predicted, present) in masks.items():
                masked = np.where(predicted[:, :, None] & present[:, None, :], table, NONE)
                forgotten = _first_of_all(predicted) if quirks == "official" else None
                taken = match(masked, order, threshold, forgotten=forgotten)
                scores[kind, threshold, name] = _score(predictions, truth, table, taken, predicted, int(present.sum()))
    return scores


def precision_envelope(hits: Mask, truths: int) -> tuple[Array, Array]:
    """Recall (n,) after each prediction, and the highest precision (n,) at that recall or a higher one.

    Args:
        hits: (n,) whether each prediction is a true positive, by descending score.
        truths: number of ground truths, at least 1.
    """
    true_positives = np.cumsum(hits)
    precision = true_positives / np.arange(1, len(hits) + 1)
    return true_positives / truths, np.maximum.accumulate(precision[::-1])[::-1]


def average_precision(hits: Mask, truths: int) -> float:
    """Mean precision at 101 recalls, 0 beyond the highest one reached; arguments as in :func:`precision_envelope`."""
    recall, precision = precision_envelope(hits, truths)
    indices = np.searchsorted(recall, np.linspace(0, 1, RECALL_POINTS), side="left")
    return float(np.append(precision, 0.0)[indices].mean())


def _score(predictions: Padded, truth: Padded, table: Array, taken: Integers, predicted: Mask, truths: int) -> Score:
    score = predictions.boxes[..., 7][predicted]
    if not truths or not len(score):
        return Score(ground_truth=truths, predictions=len(score))
    hits = (taken >= 0)[predicted][np.argsort(-score, kind="stable")]
    frame, prediction = np.nonzero(taken >= 0)
    target = taken[frame, prediction]
    pairs = len(frame)
    errors = _errors(predictions.boxes[frame, prediction], truth.boxes[frame, target])
    return Score(
        ap=100 * average_precision(hits, truths),
        recall=100 * pairs / truths,
        tp_iou=float(table[frame, prediction, target].mean()) if pairs else 0.0,
        tp_errors=dict(zip(TP_ERRORS, errors.mean(0).tolist(), strict=True)) if pairs else Score().tp_errors,
        ground_truth=truths,
        predictions=len(score),
        pairs=pairs,
    )


def _errors(predictions: Array, truth: Array) -> Array:
    """(n, 9) absolute errors in the order of ``TP_ERRORS``."""
    error = np.abs(predictions[:, :7] - truth[:, :7])
    turn = error[:, 6] % np.pi
    error[:, 6] = np.minimum(turn, np.pi - turn)
    lengths = [np.linalg.norm(error[:, part], axis=1) for part in (slice(0, 3), slice(3, 6))]
    return np.column_stack([error, *lengths])


def _in_range(
    predictions: Padded, truth: Padded, bounds: tuple[float, float] | None, quirks: Quirks
) -> tuple[Mask, Mask]:
    """Masks of the predictions (F, P) and the ground truths (F, G) that are evaluated in a range bin."""
    masks = []
    for boxes in (predictions, truth):
        inside = boxes.valid
        if bounds is not None:
            distance = np.linalg.norm(boxes.boxes[..., :3], axis=-1)
            above = distance > bounds[0] if quirks == "official" else distance >= bounds[0]
            inside = inside & above & (distance < bounds[1])
        masks.append(inside)
    predicted, present = masks
    if quirks == "official":
        complete = predicted.any(1, keepdims=True) & present.any(1, keepdims=True)
        predicted, present = predicted & complete, present & complete
    return predicted, present


def _first_of_all(predicted: Mask) -> Mask:
    """(F, P) True for the first evaluated prediction of all frames. The original confuses its index 0 with "free"."""
    first = np.zeros(predicted.size, np.bool_)
    first[np.flatnonzero(predicted)[:1]] = True
    return first.reshape(predicted.shape)
