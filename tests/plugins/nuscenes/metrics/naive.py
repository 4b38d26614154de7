"""The rules of the evaluation in plain loops over single boxes, as the specification states them: slow and obvious."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from portbev_nuscenes.classes import CLASS_RANGE, DETECTION_CLASSES, EVALUATION_CLASSES
from portbev_nuscenes.metrics import GroundTruthArrays, PredictionArrays

THRESHOLDS = (0.5, 1.0, 2.0, 4.0)
ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")
MEANINGLESS = {"traffic_cone": ("attr_err", "vel_err", "orient_err"), "barrier": ("attr_err", "vel_err")}


def naive_metrics(predictions: PredictionArrays, truth: GroundTruthArrays) -> dict[str, Any]:
    """Label APs, label errors, mAP and NDS; the samples of both must be numbered alike."""
    found = [row for row in range(len(predictions)) if counts(predictions, row, truth)]
    there = [row for row in range(len(truth)) if counts(truth, row, truth)]
    aps: dict[str, dict[float, float]] = {}
    errors: dict[str, dict[str, float]] = {}
    for name in EVALUATION_CLASSES:
        aps[name] = {}
        for threshold in THRESHOLDS:
            ap, means = one_class(predictions, truth, found, there, name, threshold)
            aps[name][threshold] = ap
            if threshold == 2.0:
                errors[name] = means | dict.fromkeys(MEANINGLESS.get(name, ()), math.nan)
    mean_ap = sum(sum(by.values()) / 4 for by in aps.values()) / 10
    totals = {
        error: [errors[name][error] for name in errors if not math.isnan(errors[name][error])] for error in ERRORS
    }
    scores = [max(0.0, 1 - sum(values) / len(values)) for values in totals.values()]
    return {"aps": aps, "errors": errors, "mean_ap": mean_ap, "nd_score": (5 * mean_ap + sum(scores)) / 10}


def counts(boxes: Any, row: int, truth: GroundTruthArrays) -> bool:
    """Range, points, racks."""
    sample, name = boxes.sample_index[row], DETECTION_CLASSES[boxes.label[row]]
    dx, dy = (boxes.translation[row] - truth.ego_translation[sample])[:2]
    if math.sqrt(dx * dx + dy * dy) >= CLASS_RANGE[name] or boxes.num_pts[row] == 0:
        return False
    racks = [rack for rack in range(len(truth.racks)) if truth.racks.sample_index[rack] == sample]
    return name not in ("bicycle", "motorcycle") or not any(inside(boxes.translation[row], truth, r) for r in racks)


def inside(point: np.ndarray, truth: GroundTruthArrays, rack: int) -> bool:
    """Whether a point lies in a rack: the coordinates along its axes are within half its extent."""
    q = truth.racks.rotation[rack] / np.linalg.norm(truth.racks.rotation[rack])
    local = rotate([q[0], -q[1], -q[2], -q[3]], point - truth.racks.translation[rack])
    width, length, height = truth.racks.size[rack]
    return bool(np.all(np.abs(local) <= np.array([length, width, height]) / 2))


def rotate(q: Any, vector: Any) -> np.ndarray:
    """The vector turned by a unit quaternion w, x, y, z."""
    axis = np.array(q[1:])
    return np.asarray(vector + 2 * np.cross(axis, np.cross(axis, vector) + q[0] * np.asarray(vector)))


def one_class(
    predictions: PredictionArrays, truth: GroundTruthArrays, found: list[int], there: list[int], name: str, limit: float
) -> tuple[float, dict[str, float]]:
    """AP and mean errors of one class at one distance."""
    label = DETECTION_CLASSES.index(name)
    found = [row for row in found if predictions.label[row] == label]
    there = [row for row in there if truth.label[row] == label]
    order = sorted(range(len(found)), key=lambda position: (predictions.score[found[position]], position))[::-1]
    taken: set[int] = set()
    hits, pairs = [], []
    for position in order:
        row = found[position]
        best, nearest = math.inf, -1
        for candidate in there:
            if truth.sample_index[candidate] == predictions.lookup[row] and candidate not in taken:
                distance = np.linalg.norm(predictions.translation[row, :2] - truth.translation[candidate, :2])
                if distance < best:
                    best, nearest = distance, candidate
        hits.append(best < limit)
        if best < limit:
            taken.add(nearest)
            pairs.append((row, nearest))
    if not there or not pairs:
        return 0.0, dict.fromkeys(ERRORS, 1.0)
    scores = [predictions.score[found[position]] for position in order]
    correct = np.cumsum(hits)
    recall, precision = correct / len(there), correct / np.arange(1, len(hits) + 1)
    grid = np.linspace(0, 1, 101)
    confidence = np.interp(grid, recall, scores, right=0)
    ap = np.mean(np.maximum(np.interp(grid, recall, precision, right=0)[11:] - 0.1, 0)) / 0.9
    last = max([index for index in range(101) if confidence[index] != 0], default=0)
    means = {}
    for error in ERRORS:
        values = [single_error(error, predictions, truth, row, match) for row, match in pairs]
        so_far = running(values)
        curve = np.interp(confidence[::-1], [predictions.score[row] for row, _ in pairs][::-1], so_far[::-1])[::-1]
        means[error] = float(np.mean(curve[11 : last + 1])) if last >= 11 else 1.0
    return float(ap), means


def running(values: list[float]) -> list[float]:
    """Mean of the known values so far."""
    if all(math.isnan(value) for value in values):
        return [1.0] * len(values)
    result, known = [], []
    for value in values:
        known += [] if math.isnan(value) else [value]
        result.append(sum(known) / len(known) if known else 0.0)
    return result


def single_error(error: str, predictions: PredictionArrays, truth: GroundTruthArrays, row: int, match: int) -> float:
    """One true-positive error of one pair."""
    if error == "trans_err":
        return float(np.linalg.norm(predictions.translation[row, :2] - truth.translation[match, :2]))
    if error == "vel_err":
        return float(np.linalg.norm(predictions.velocity[row] - truth.velocity[match]))
    if error == "attr_err":
        return math.nan if truth.attribute[match] < 0 else float(predictions.attribute[row] != truth.attribute[match])
    if error == "scale_err":
        common = math.prod(map(min, predictions.size[row], truth.size[match]))
        return 1 - common / (math.prod(predictions.size[row]) + math.prod(truth.size[match]) - common)
    first, second = (
        rotate(boxes.rotation[index] / np.linalg.norm(boxes.rotation[index]), [1.0, 0.0, 0.0])
        for boxes, index in ((predictions, row), (truth, match))
    )
    turned = math.atan2(first[1], first[0]) - math.atan2(second[1], second[0])
    return abs(math.remainder(turned, math.pi if DETECTION_CLASSES[truth.label[match]] == "barrier" else 2 * math.pi))
