"""Predictions that cannot be scored, each told in one line with sample and box."""

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
    """Refuse predictions whose samples are not those to be evaluated.

    Raises:
        ResultsError: names missing and extra sample tokens (the first three of each).
    """
    wanted = set(tokens)
    predicted = set(predictions.sample_tokens)
    if len(predicted) < len(predictions.sample_tokens):
        twice = next(token for token in predicted if list(predictions.sample_tokens).count(token) > 1)
        raise ResultsError(f"sample {twice} is there twice", where=predictions.source)
    missing = [token for token in tokens if token not in predicted]
    extra = [] if extra_allowed else [token for token in predictions.sample_tokens if token not in wanted]
    if missing or extra:
        parts = [
            f"{len(some)} {kind} ({', '.join(some[:_SHOWN])}{', ...' if len(some) > _SHOWN else ''})"
            for kind, some in (("missing", missing), ("extra", extra))
            if some
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
    """Refuse boxes that cannot be scored.

    A NaN velocity means that it is unknown, as in the devkit; ``unknown_velocity=False`` refuses it as well.

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
        # a sum is finite unless one of its terms is not (or the numbers are absurd); it saves a mask per column
        if not np.isfinite(column.sum()):
            wrong = np.isinf if unknown_velocity and name == "velocity" else lambda numbers: ~np.isfinite(numbers)
            bad = np.flatnonzero(wrong(column.reshape(len(predictions), -1)).any(1))
            if len(bad):
                raise _bad_box(predictions, bad[0], f"{name} is NaN or infinite: {column[bad[0]].tolist()}")
    if len(predictions) and predictions.size.min() <= 0:
        row = np.flatnonzero((predictions.size <= 0).any(1))[0]
        raise _bad_box(predictions, row, f"size must be positive: {predictions.size[row].tolist()}")
    limits = (("label", 0, len(DETECTION_CLASSES), "class"), ("attribute", -1, len(ATTRIBUTES), "attribute"))
    for name, low, high, what in limits:
        bad = np.flatnonzero((getattr(predictions, name) < low) | (getattr(predictions, name) >= high))
        if len(bad):
            raise _bad_box(predictions, bad[0], f"no {what} has the index {getattr(predictions, name)[bad[0]]}")


def too_many(source: str, token: str, count: int, limit: int) -> ResultsError:
    """The error of a sample with more boxes than a submission may have."""
    return ResultsError(
        f"sample {token} has {count} boxes, at most {limit} are allowed",
        where=source,
        cure="Keep those with the highest scores",
    )


def _bad_box(predictions: PredictionArrays, row: Any, what: str) -> ResultsError:
    sample = predictions.sample_index[row]
    box = int((predictions.sample_index[:row] == sample).sum())
    return ResultsError(f"sample {predictions.sample_tokens[sample]}, box {box}: {what}", where=predictions.source)


def explain_boxes(boxes: Any, token: str, source: str) -> None:
    """Find what is wrong with one sample's boxes as the file has them.

    Raises:
        ResultsError: for the first box that is wrong; none if there is nothing to object to.
    """
    where = f"{source}: sample {token}"
    if not isinstance(boxes, list):
        raise ResultsError(f"the boxes must be a list, found {_shown(boxes)}", where=where)
    for index, box in enumerate(boxes):
        problem = _box_problem(box)
        if problem:
            raise ResultsError(problem, where=f"{where}, box {index}")


def _box_problem(box: Any) -> str:
    """What is wrong with a box, or nothing."""
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
    """What is wrong with one of a box's numbers, or nothing."""
    numbers = [(name, value) for name in _VECTORS for value in box[name] if not _unknown(name, value)]
    numbers += [(name, box[name]) for name in ("detection_score", "num_pts") if name in box]
    return next(filter(None, (_number_problem(name, value) for name, value in numbers)), "")


def _value_problem(box: dict[str, Any]) -> str:
    """What is wrong with a box whose fields have the right types, or nothing."""
    if min(box["size"]) <= 0:
        return f"size must be positive: {box['size']}"
    if box["detection_name"] not in DETECTION_CLASSES:
        return f"unknown class {box['detection_name']!r}; the classes are {', '.join(DETECTION_CLASSES)}"
    if box["attribute_name"] not in ("", *ATTRIBUTES):
        return f"unknown attribute {box['attribute_name']!r}; the attributes are {', '.join(ATTRIBUTES)}, or empty"
    return ""


def _unknown(name: str, value: Any) -> bool:
    """A NaN velocity: it counts in everything but the velocity error."""
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
