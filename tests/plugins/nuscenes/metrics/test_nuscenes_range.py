"""Scoring within distances from the ego, by hand and against evaluations of the distances alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nuscenes_cases import random_case, write_tables

from portbev.errors import PortbevError
from portbev.evaluate.results import evaluate_results
from portbev_nuscenes.classes import DETECTION_CLASSES, Categories
from portbev_nuscenes.metrics import (
    DetectionConfig,
    GroundTruthArrays,
    PredictionArrays,
    evaluate,
    load_ground_truth,
    write_predictions,
)

VERSION = "v1.0-mini"
HALF = sum(k / 100 - 0.1 for k in range(11, 51)) / 90 / 0.9
"""AP where a wrong box comes before the one that finds one of two: precision rises to a half at recall a half."""


def two_samples() -> tuple[PredictionArrays, GroundTruthArrays]:
    """Cars at 5, 25 m and 35 m; found are those at 5 and 35 m, after a wrong box at 15 m."""
    ego = np.array([[0.0, 0, 0], [100, 0, 0]])
    truth = GroundTruthArrays(
        ("one", "two"),
        ego,
        np.array([0, 0, 1]),
        np.zeros(3, np.int8),
        np.array([[5.0, 0, 0], [0, 25, 0], [100, -35, 0]]),
        np.tile([2.0, 4.0, 1.5], (3, 1)),
        np.tile([1.0, 0, 0, 0], (3, 1)),
        np.zeros((3, 2)),
        np.full(3, 5, np.int8),
        np.ones(3, np.int64),
    )
    found = PredictionArrays(
        truth.sample_tokens,
        np.array([0, 0, 1]),
        np.zeros(3, np.int8),
        np.array([0.9, 0.95, 0.8]),
        np.array([[5.0, 0, 0], [15, 0, 0], [100, -35, 0]]),
        np.tile([2.0, 4.0, 1.5], (3, 1)),
        np.tile([1.0, 0, 0, 0], (3, 1)),
        np.zeros((3, 2)),
        np.full(3, 5, np.int8),
    )
    return found, truth


def test_two_samples_by_hand() -> None:
    found, truth = two_samples()
    near = evaluate(found, truth, DetectionConfig().within(0, 30))
    assert near.ground_truth_counts["car"] == 2 and near.prediction_counts["car"] == 2
    assert near.mean_dist_aps["car"] == pytest.approx(HALF) and near.mean_ap == pytest.approx(HALF / 10)
    far = evaluate(found, truth, DetectionConfig().within(30, np.inf))
    assert (far.ground_truth_counts["car"], far.prediction_counts["car"]) == (1, 1)
    assert far.mean_dist_aps["car"] == pytest.approx(1)
    assert [(ring["from"], ring["annotated"], ring["predicted"]) for ring in near.by_distance] == [
        (0, 1, 1),
        (10, 0, 1),
        (20, 1, 0),
        (30, 0, 0),
        (40, 0, 0),
    ]
    whole = evaluate(found, truth).by_distance
    assert [ring["mAP"] for ring in whole] == pytest.approx([1, np.nan, 0, 1, np.nan], nan_ok=True)


@pytest.mark.parametrize("seed", range(12))
def test_a_ring_is_an_evaluation_of_its_distances_alone(seed: int) -> None:
    found, truth = random_case(seed, samples=4, truths=60, predictions=150, coarse=seed % 3 == 0, stray=seed % 2 == 0)
    for ring in evaluate(found, truth).by_distance:
        alone = evaluate(found, truth, DetectionConfig().within(ring["from"], ring["to"]))
        present = [name for name in DETECTION_CLASSES if alone.ground_truth_counts[name]]
        mean = np.mean([alone.mean_dist_aps[name] for name in present]) if present else np.nan
        assert ring["mAP"] == pytest.approx(mean, abs=1e-12, nan_ok=True)
        assert ring["annotated"] == sum(alone.ground_truth_counts.values())
        assert ring["predicted"] == sum(alone.prediction_counts.values())


def test_class_ranges_still_apply() -> None:
    config = DetectionConfig().within(10, 45)
    assert (config.min_distance, config.class_range["car"], config.class_range["barrier"]) == (10, 45, 30)


def test_a_file_of_results_is_scored_within_distances_and_says_so(tmp_path: Path) -> None:
    found, truth = two_samples()
    write_tables(tmp_path / "data", truth)
    write_predictions(tmp_path / "results.json", found)
    arguments = {"data_root": str(tmp_path / "data"), "version": VERSION, "split": "custom"}
    record = evaluate_results(tmp_path / "results.json", within=(0, 30), out=tmp_path / "near", **arguments)
    assert record["mean_dist_aps"]["car"] == pytest.approx(HALF) and record["within"] == [0, 30]
    assert json.loads((tmp_path / "near" / "metrics.json").read_text()) == record
    assert record["data"]["root"] == str((tmp_path / "data").resolve()) and record["data"]["split"] == "custom"
    assert record["results"] == str((tmp_path / "results.json").resolve())
    assert "each counts 0 in mAP" in record["notes"][0] and "truck" in record["notes"][0]
    before = (tmp_path / "near" / "metrics.json").read_bytes()
    with pytest.raises(PortbevError, match=r"near: holds another evaluation \(its within differs\)"):
        evaluate_results(tmp_path / "results.json", out=tmp_path / "near", **arguments)
    again = evaluate_results(tmp_path / "results.json", within=(0, 30), out=tmp_path / "near", **arguments)
    assert again == record and (tmp_path / "near" / "metrics.json").read_bytes() == before


def test_no_ground_truth_that_counts_is_said() -> None:
    found, truth = two_samples()
    metrics = evaluate(found, replace(truth, num_pts=np.zeros(3, np.int64)))
    assert metrics.mean_ap == 0 and "no ground truth that counts" in metrics.notes[-1]


def test_ground_truth_follows_categories_and_points_of_ones_own(tmp_path: Path) -> None:
    _, truth = two_samples()
    write_tables(tmp_path, replace(truth, num_pts=np.array([0, 1, 2])))
    folder = tmp_path / VERSION
    rows = json.loads((folder / "category.json").read_text())
    for row in rows:
        row["name"] = row["name"].replace("vehicle.car", "my.auto")
    (folder / "category.json").write_text(json.dumps(rows))
    assert len(load_ground_truth(tmp_path, VERSION, "custom")) == 0
    mapped = load_ground_truth(tmp_path, VERSION, "custom", categories=Categories({"my.auto": "truck"}))
    assert mapped.label.tolist() == [1, 1, 1] and (mapped.num_pts != 0).tolist() == [False, True, True]
    kept = load_ground_truth(tmp_path, VERSION, "custom", categories=Categories({"my.auto": "car"}), min_points=0)
    assert (kept.num_pts != 0).all()
    few = load_ground_truth(tmp_path, VERSION, "custom", categories=Categories({"my.auto": "car"}), min_points=2)
    assert (few.num_pts != 0).tolist() == [False, False, True]


def test_points_that_nobody_counted_count(tmp_path: Path) -> None:
    """Also where the two numbers add up to 0."""
    _, truth = two_samples()
    write_tables(tmp_path, truth)
    path = tmp_path / VERSION / "sample_annotation.json"
    rows = json.loads(path.read_text())
    for row, (lidar, radar) in zip(rows, [(-1, 1), (-1, -1), (0, 0)], strict=True):
        row.update(num_lidar_pts=lidar, num_radar_pts=radar)
    path.write_text(json.dumps(rows))
    assert (load_ground_truth(tmp_path, VERSION, "custom").num_pts != 0).tolist() == [True, True, False]
