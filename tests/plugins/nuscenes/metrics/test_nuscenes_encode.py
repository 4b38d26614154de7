"""Detections as the benchmark takes them: too many and meaningless ones are left out, counted and said."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from nuscenes_cases import random_case, write_tables

from portbev.evaluate.benchmark import find_benchmark
from portbev.models import Detections
from portbev_nuscenes.classes import Categories
from portbev_nuscenes.metrics import load_ground_truth, load_predictions


def test_more_boxes_than_a_submission_takes_are_capped_by_score(tmp_path: Path) -> None:
    _, truth = random_case(0, samples=2, truths=6)
    write_tables(tmp_path, truth)
    tokens = list(load_ground_truth(tmp_path, "v1.0-mini", "custom").sample_tokens)
    tables = {"categories": Categories(), "min_points": 1}
    dataset: Any = SimpleNamespace(root=tmp_path, version="v1.0-mini", split="custom", tokens=tokens, **tables)
    benchmark = find_benchmark("nuscenes")
    boxes = np.tile(np.array([1, 2, 0, 4, 2, 1.5, 0.3, 0, 0], np.float32), (612, 1))
    boxes[600:606, 3], boxes[606:612, 4] = np.inf, 0
    rng = np.random.default_rng(0)
    found = Detections(boxes, rng.permutation(612).astype(np.float32) / 612, np.zeros(612, np.int64))
    none = Detections(boxes[:0], found.scores[:0], found.labels[:0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples = [benchmark.encode(one, token, np.eye(4)) for one, token in zip((found, none), tokens, strict=True)]
        notes = benchmark.write(samples, dataset, tmp_path / "predictions.json")
        record = benchmark.score(samples, dataset)
    assert notes == [
        "6 predicted boxes that are not finite are left out, in 1 samples",
        "6 predicted boxes without extent are left out, in 1 samples",
        "100 predicted boxes beyond the 500 best of a sample are left out, in 1 samples",
    ]
    assert record["notes"][-3:] == notes
    kept = np.sort(load_predictions(tmp_path / "predictions.json").score)
    np.testing.assert_array_equal(kept, np.sort(found.scores[:600])[100:].astype(np.float64))
    assert cast("dict[str, Any]", record)["samples"] == 2
