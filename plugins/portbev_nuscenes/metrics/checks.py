"""Checks of predictions; each error is one line that names the sample and the box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from portbev.errors import ResultsError
from portbev_nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES, MAX_BOXES_PER_SAMPLE
from portbev_nuscenes.metrics.arrays import PredictionArrays

_SHOWN = 3

_VECTORS: Final = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}


def check_samples(
    predictions: PredictionArrays, tokens: Sequence[str], *, split: str = "", extra_allowed: bool = False
) -> None:
    """Check that the predicted samples are those to be evaluated.

    Raises:
        ResultsError: they are not; the message has the first three missing and extra sample tokens.
    """
    expected = set(tokens)
    predicted = set(predictions.sample_tokens)
    if len(predicted) < len(predictions.sample_tokens):
        repeated = next(token for token in predicted if list(predictions.sample_tokens).count(token) > 1)
        raise ResultsError(f"sample {repeated} is there twice", where=predictions.source)
    missing = [token for token in tokens if token not in predicted]
    extra = [] if extra_allowed else [token for token in predictions.sample_tokens if token not in expected]
    if missing or extra:
        parts = [
            f"{len(names)} {label} ({', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
            for label, names in (("missing", missing), ("extra", extra))
            if names
        ]
        target = f"split {split!r}" if split else "the ground truth"
        raise ResultsError(
            f"the samples are not those of {target}, which has {len(tokens)}: {' and '.join(parts)}",
            where=predictions.source,
            cure="Check that results and split belong together; a sample without boxes needs an empty list",
        )


def check_predictions(
    predictions: PredictionArrays,
    *,
    max_boxes_per_sample: int = MAX_BOXES_PER_SAMPLE,
    unknown_velocity: bool = True,
) -> None:
    """Check that every box can be scored.

    A NaN velocity means an unknown one, as in the devkit; with ``unknown_velocity=False`` it is an error too.

    Raises:
        ResultsError: NaN or infinite numbers, a size that is not positive, a class or attribute index out of range, or
            too many boxes in a sample; names the sample and the box's index in it.
    """
    counts = np.bincount(predictions.sample_index, minlength=1)
    if counts.max() > max_boxes_per_sample:
        crowded = int(counts.argmax())
        raise too_many(
            predictions.source, predictions.sample_tokens[crowded], int(counts[crowded]), max_boxes_per_sample
        )
    for name in ("translation", "size", "rotation", "velocity", "score"):
        column = getattr(predictions, name)
        # the sum is finite if all numbers are (unless they are huge): a cheap test before the mask is made
        if not np.isfinite(column.sum()):
            is_wrong = np.isinf if unknown_velocity and name == "velocity" else lambda numbers: ~np.isfinite(numbers)
            rows = np.flatnonzero(is_wrong(column.reshape(len(predictions), -1)).any(1))
            if len(rows):
                raise _bad_box(predictions, rows[0], f"{name} is NaN or infinite: {column[rows[0]].tolist()}")
    if len(predictions) and predictions.size.min() <= 0:
        row = np.flatnonzero((predictions.size <= 0).any(1))[0]
        raise _bad_box(predictions, row, f"size must be positive: {predictions.size[row].tolist()}")
    limits = (("label", 0, len(DETECTION_CLASSES), "class"), ("attribute", -1, len(ATTRIBUTES), "attribute"))
    for name, low, high, noun in limits:
        rows = np.flatnonzero((getattr(predictions, name) < low) | (getattr(predictions, name) >= high))
        if len(rows):
            raise _bad_box(predictions, rows[0], f"no {noun} has the index {getattr(predictions, name)[rows[0]]}")


def too_many(source: str, token: str, count: int, limit: int) -> ResultsError:
    """The error of a sample with more boxes than a submission may have."""
    return ResultsError(
        f"sample {token} has {count} boxes, at most {limit} are allowed",
        where=source,
        cure="Keep those with the highest scores",
    )


def _bad_box(predictions: PredictionArrays, row: Any, message: str) -> ResultsError:
    sample = predictions.sample_index[row]
    box = int((predictions.sample_index[:row] == sample).sum())
    return ResultsError(f"sample {predictions.sample_tokens[sample]}, box {box}: {message}", where=predictions.source)


def explain_boxes(boxes: Any, token: str, source: str) -> None:
    """Explain what is wrong with the boxes of one sample, given as plain JSON values; do nothing if they are right.

    Raises:
        ResultsError: for the first box that is wrong.
    """
    where = f"{source}: sample {token}"
    if not isinstance(boxes, list):
        raise ResultsError(f"the boxes must be a list, found {_shown(boxes)}", where=where)
    for index, box in enumerate(boxes):
        problem = _box_problem(box)
        if problem:
            raise ResultsError(problem, where=f"{where}, box {index}")


def _box_problem(box: Any) -> str:
    """What is wrong with a box; empty if nothing is."""
    if not isinstance(box, dict):
        return f"a box must be an object, found {_shown(box)}"
    required = ("sample_token", *_VECTORS, "detection_name", "detection_score", "attribute_name")
    absent = [name for name in required if name not in box]
    if absent:
        return f"the field {absent[0]} is missing"
    for name in ("sample_token", "detection_name", "attribute_name"):
        if not isinstance(box[name], str):
            return f"{name} must be text, found {_shown(box[name])}"
    for name, length in _VECTORS.items():
        if not isinstance(box[name], list) or len(box[name]) != length:
            return f"{name} must have {length} numbers, found {_shown(box[name])}"
    return _numbers_problem(box) or _value_problem(box)


def _numbers_problem(box: dict[str, Any]) -> str:
    """What is wrong with the numbers of a box; empty if nothing is."""
    numbers = [(name, value) for name in _VECTORS for value in box[name] if not _unknown(name, value)]
    numbers += [(name, box[name]) for name in ("detection_score", "num_pts") if name in box]
    return next(filter(None, (_number_problem(name, value) for name, value in numbers)), "")


def _value_problem(box: dict[str, Any]) -> str:
    """What is wrong with the values of a box whose fields have the right types; empty if nothing is."""
    if min(box["size"]) <= 0:
        return f"size must be positive: {box['size']}"
    if box["detection_name"] not in DETECTION_CLASSES:
        return f"unknown class {box['detection_name']!r}; the classes are {', '.join(DETECTION_CLASSES)}"
    if box["attribute_name"] not in ("", *ATTRIBUTES):
        return f"unknown attribute {box['attribute_name']!r}; the attributes are {', '.join(ATTRIBUTES)}, or empty"
    return ""


def _unknown(name: str, value: Any) -> bool:
    """Whether a number is a NaN velocity, which is valid: the box has no velocity error but counts otherwise."""
    return name == "velocity" and isinstance(value, float) and math.isnan(value)


def _number_problem(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{name} must hold numbers, found {_shown(value)}"
    try:
        finite = bool(np.isfinite(float(value)))
    except OverflowError:
        finite = False
    return "" if finite else f"{name} is NaN or infinite"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
