"""Boxes that mean nothing and boxes beyond the limit are left out, counted and said."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from portbev.evaluate.usable import LEFT_OUT, left_out_notes, usable
from portbev.models import Detections


def detections(count: int) -> Detections:
    boxes = np.tile(np.array([1, 2, 0, 4, 2, 1.5, 0.3, 0, 0], np.float32), (count, 1))
    return Detections(boxes, np.linspace(0.9, 0.1, count, dtype=np.float32), np.arange(count))


def test_good_boxes_pass_untouched() -> None:
    found = detections(3)
    assert usable(found, limit=3) == (found, {})
    assert usable(detections(0))[1] == {}


@pytest.mark.parametrize("column", range(9))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_box_that_is_not_finite_anywhere_is_left_out(column: int, value: float) -> None:
    found = detections(3)
    found.boxes[1, column] = value
    kept, left = usable(found)
    assert kept.labels.tolist() == [0, 2] and left == {"that are not finite": 1}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_left_out(value: float) -> None:
    found = detections(2)
    found.scores[0] = value
    assert usable(found)[0].labels.tolist() == [1]


@pytest.mark.parametrize("value", [0.0, -0.0, -1.0])
@pytest.mark.parametrize("column", [3, 4, 5])
def test_a_box_without_extent_is_left_out(column: int, value: float) -> None:
    found = detections(2)
    found.boxes[1, column] = value
    kept, left = usable(found)
    assert kept.labels.tolist() == [0] and left == {"without extent": 1}


def test_sizes_as_they_come_out_of_exp_are_sorted_out_without_warnings() -> None:
    with warnings.catch_warnings(), np.errstate(over="ignore", under="ignore"):
        warnings.simplefilter("error")
        found = detections(3)
        found.boxes[:, 3] = np.exp(np.array([1, 100, -200], np.float32))
        kept, left = usable(found)
    assert kept.labels.tolist() == [0] and left == {"that are not finite": 1, "without extent": 1}


def test_beyond_the_limit_the_lowest_scores_go_and_the_order_stays() -> None:
    found = detections(5)
    found.scores[:] = [0.1, 0.5, 0.5, 0.9, 0.5]
    found.boxes[3, 0] = np.nan  # takes no place
    kept, left = usable(found, limit=2)
    assert kept.labels.tolist() == [1, 2]
    assert left == {"that are not finite": 1, "beyond the 2 best of a sample": 2}


def test_notes_count_boxes_and_samples() -> None:
    samples = [{LEFT_OUT: {"without extent": 2}}, {}, {LEFT_OUT: {"without extent": 1, "that are not finite": 4}}]
    assert left_out_notes(samples) == [
        "3 predicted boxes without extent are left out, in 2 samples",
        "4 predicted boxes that are not finite are left out, in 1 samples",
    ]
