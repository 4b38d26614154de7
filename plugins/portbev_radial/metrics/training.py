"""The evaluation that runs during training: precision, recall and errors over nine scores.

It comes from FFT-RadNet. What the original does, and ``fixed`` does not:

* a prediction counts by where its rear edge is, ground truth by its centre;
* every prediction that overlaps some ground truth is right, and all that it overlaps are found: one car can be found
  twice, and two by one box;
* range and angle errors look boxes up by positions in other arrays: the prediction's among the kept ones, by score, is
  used in all of the frame's, as given; the ground truth's among those within reach, in all of them. With several
  objects in a frame the errors compare unrelated boxes.
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
    """The result, with one value per score threshold where the attribute is a tuple.

    Attributes:
        precision, recall: fractions; 0 where nothing is right.
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
        """The five numbers by the names that they are known by."""
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
        fixed_size: give every box 4 x 1.8 m and no yaw, for detectors that find points only.
    """
    official = quirks == "official"
    given = predictions, truth
    order = by_score(predictions)
    predictions = Padded(
        np.take_along_axis(predictions.boxes, order[..., None], 1), np.take_along_axis(predictions.there, order, 1)
    )
    if fixed_size:
        predictions, truth = _fixed_size(predictions), _fixed_size(truth)
    by_rank = np.broadcast_to(np.arange(order.shape[1]), order.shape)
    kept = suppress(predictions, bev_iou, TRAINING_NMS_IOU) & _in_front(predictions, rear=official)
    within = truth.there & _in_front(truth, rear=False)
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
    """Range [m] and angle [degrees] of predictions and ground truth, (F, P, 2) and (F, G, 2)."""

    def __init__(self, predictions: Array, truth: Array, misplaced: Mask | None = None) -> None:
        self.predictions, self.truth, self.misplaced = predictions, truth, misplaced

    def of(self, found: Mask, pairs: Mask) -> tuple[float, float]:
        """Mean errors of ``pairs`` (F, P, G), of which only predictions in ``found`` count."""
        frame, prediction, target = np.nonzero(pairs & found[..., None])
        if not len(frame):
            return float("nan"), float("nan")
        if self.misplaced is not None:
            prediction = (np.cumsum(found, 1) - 1)[frame, prediction]
            target = (np.cumsum(self.misplaced, 1) - 1)[frame, target]
        error = np.abs(self.truth[frame, target] - self.predictions[frame, prediction]).mean(0)
        return float(error[0]), float(error[1])


def _pair_errors(predictions: Padded, truth: Padded) -> _Errors:
    return _Errors(_range_angle(predictions.boxes), _range_angle(truth.boxes))


def _misplaced_errors(predictions: Padded, truth: Padded, within: Mask) -> _Errors:
    """The original's: positions of one array used in another; ranges and angles of predictions in float32."""
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
        found = kept & (scores > threshold)
        now = pairs & found[..., None]
        right = int(now.any(2).sum())
        missed = truths - int(now.any(1).sum())
        precision = right / int(found.sum()) if right else 0.0
        recall = right / (right + missed) if right else 0.0
        rows.append((precision, recall, *errors.of(found, pairs)))
    return TrainingScore(*zip(*rows, strict=True))


def _in_front(boxes: Padded, *, rear: bool) -> Mask:
    """Which boxes are ahead, within reach, by their centre or by the middle of their rear edge."""
    x = boxes.boxes[..., 0]
    if rear:
        x = x - np.cos(boxes.boxes[..., 6]) * boxes.boxes[..., 3] / 2
    low, high = TRAINING_FORWARD
    return (x >= low) & (x <= high)


def _fixed_size(boxes: Padded) -> Padded:
    changed = boxes.boxes.copy()
    changed[..., 3:5] = FIXED_SIZE
    changed[..., 6] = 0.0
    return Padded(changed, boxes.there)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
