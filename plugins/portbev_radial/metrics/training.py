"""The evaluation that runs during training: precision, recall and errors over nine scores.

It comes from FFT-RadNet. The original has these quirks, which ``fixed`` has not:

* whether a box is within reach is decided by the rear edge for a prediction, but by the centre for ground truth;
* every prediction that overlaps any ground truth is a true positive, and all ground truths that it overlaps are
  detected: one car can count twice, and one box can detect two cars;
* range and angle errors use indices of one array in another one: an index among the kept predictions, ordered by score,
  is used among all predictions of the frame in their given order, and an index among the ground truths within reach is
  used among all of them. With several objects in a frame the errors compare unrelated boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from portbev_radial.metrics.boxes import Array, Mask, Padded
from portbev_radial.metrics.constants import (
    FIXED_SIZE,
    TRAINING_FORWARD,
    TRAINING_IOU,
    TRAINING_NMS_IOU,
    TRAINING_SCORES,
    Quirks,
)
from portbev_radial.metrics.iou import bev_iou
from portbev_radial.metrics.matching import by_score, match, pair_table, suppress


@dataclass(frozen=True)
class TrainingScore:
    """The result, with one value per score threshold in each tuple.

    Attributes:
        precision, recall: fractions; 0 without true positives.
        range_errors [m], angle_errors [degrees]: mean over the pairs; NaN without pairs.
    """

    precision: tuple[float, ...]
    recall: tuple[float, ...]
    range_errors: tuple[float, ...]
    angle_errors: tuple[float, ...]

    @property
    def mean_precision(self) -> float:
        """mAP: the mean over the thresholds."""
        return float(np.mean(self.precision))

    @property
    def mean_recall(self) -> float:
        """mAR: the mean over the thresholds."""
        return float(np.mean(self.recall))

    @property
    def f1(self) -> float:
        """Harmonic mean of mAP and mAR."""
        total = self.mean_precision + self.mean_recall
        return self.mean_precision * self.mean_recall / (total / 2) if total else 0.0

    @property
    def range_error(self) -> float:
        """Metres, the mean over the thresholds that have pairs; NaN if none has."""
        return _mean(self.range_errors)

    @property
    def angle_error(self) -> float:
        """Degrees, the mean over the thresholds that have pairs; NaN if none has."""
        return _mean(self.angle_errors)

    def named(self) -> dict[str, float]:
        """The five numbers by their usual names."""
        return {
            "mAP": self.mean_precision,
            "mAR": self.mean_recall,
            "F1": self.f1,
            "range_error": self.range_error,
            "angle_error": self.angle_error,
        }


def training_score(predictions: Padded, truth: Padded, quirks: Quirks, *, fixed_size: bool) -> TrainingScore:
    """Score all frames.

    Args:
        predictions, truth: boxes of the same frames.
        quirks: ``official`` or ``fixed``.
        fixed_size: set every box to 4 x 1.8 m and yaw 0, for detectors that predict points only.
    """
    official = quirks == "official"
    given = predictions, truth
    order = by_score(predictions)
    predictions = Padded(
        np.take_along_axis(predictions.boxes, order[..., None], 1), np.take_along_axis(predictions.valid, order, 1)
    )
    if fixed_size:
        predictions, truth = _fixed_size(predictions), _fixed_size(truth)
    by_rank = np.broadcast_to(np.arange(order.shape[1]), order.shape)
    kept = suppress(predictions, bev_iou, TRAINING_NMS_IOU) & _in_front(predictions, rear=official)
    within = truth.valid & _in_front(truth, rear=False)
    table = pair_table(Padded(predictions.boxes, kept), Padded(truth.boxes, within), bev_iou)
    if official:
        pairs = table >= TRAINING_IOU
        errors = _misplaced_errors(given[0], given[1], within)
    else:
        taken = match(table, by_rank, TRAINING_IOU)
        pairs = taken[..., None] == np.arange(table.shape[2])
        errors = _pair_errors(predictions, truth)
    return _over_thresholds(kept, predictions.boxes[..., 7], pairs, int(within.sum()), errors)


class _Errors:
    """Range [m] and angle [degrees] of predictions (F, P, 2) and ground truth (F, G, 2), and the errors of pairs.

    ``misplaced`` (F, G): reproduce the original's wrong indices; the mask has the ground truths within reach.
    """

    def __init__(self, predictions: Array, truth: Array, misplaced: Mask | None = None) -> None:
        self.predictions, self.truth, self.misplaced = predictions, truth, misplaced

    def of(self, selected: Mask, pairs: Mask) -> tuple[float, float]:
        """Mean range and angle error of ``pairs`` (F, P, G), restricted to the predictions in ``selected`` (F, P)."""
        frame, prediction, target = np.nonzero(pairs & selected[..., None])
        if not len(frame):
            return float("nan"), float("nan")
        if self.misplaced is not None:
            prediction = (np.cumsum(selected, 1) - 1)[frame, prediction]
            target = (np.cumsum(self.misplaced, 1) - 1)[frame, target]
        error = np.abs(self.truth[frame, target] - self.predictions[frame, prediction]).mean(0)
        return float(error[0]), float(error[1])


def _pair_errors(predictions: Padded, truth: Padded) -> _Errors:
    return _Errors(_range_angle(predictions.boxes), _range_angle(truth.boxes))


def _misplaced_errors(predictions: Padded, truth: Padded, within: Mask) -> _Errors:
    """The original's errors: with wrong indices, and with ranges and angles of predictions in float32."""
    x, y = (predictions.boxes[..., axis].astype(np.float32) for axis in (0, 1))
    angle = np.arctan2(y, x) * np.float32(180) / np.float32(np.pi)
    single = np.stack([np.sqrt(x * x + y * y), angle], -1).astype(np.float64)
    return _Errors(single, _range_angle(truth.boxes), within)


def _range_angle(boxes: Array) -> Array:
    x, y = boxes[..., 0], boxes[..., 1]
    return np.stack([np.sqrt(x * x + y * y), np.degrees(np.arctan2(y, x))], -1)


def _over_thresholds(kept: Mask, scores: Array, pairs: Mask, truths: int, errors: _Errors) -> TrainingScore:
    rows = []
    for threshold in TRAINING_SCORES:
        selected = kept & (scores > threshold)
        active = pairs & selected[..., None]
        true_positives = int(active.any(2).sum())
        missed = truths - int(active.any(1).sum())
        precision = true_positives / int(selected.sum()) if true_positives else 0.0
        recall = true_positives / (true_positives + missed) if true_positives else 0.0
        rows.append((precision, recall, *errors.of(selected, pairs)))
    return TrainingScore(*zip(*rows, strict=True))


def _in_front(boxes: Padded, *, rear: bool) -> Mask:
    """(F, K) whether boxes are within reach in x, by their centre or (``rear``) by the middle of their rear edge."""
    x = boxes.boxes[..., 0]
    if rear:
        x = x - np.cos(boxes.boxes[..., 6]) * boxes.boxes[..., 3] / 2
    low, high = TRAINING_FORWARD
    return (x >= low) & (x <= high)


def _fixed_size(boxes: Padded) -> Padded:
    changed = boxes.boxes.copy()
    changed[..., 3:5] = FIXED_SIZE
    changed[..., 6] = 0.0
    return Padded(changed, boxes.valid)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
