"""The evaluation of arrays against plain loops, and properties that it must have."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive import naive_metrics
from nuscenes_cases import random_case

from portbev.errors import ResultsError
from portbev_nuscenes.classes import CLASS_RANGE, DETECTION_CLASSES
from portbev_nuscenes.metrics import BoxArrays, DetectionConfig, PredictionArrays, concatenate, distance_bands, evaluate
from portbev_nuscenes.metrics.filters import in_racks
from portbev_nuscenes.metrics.matching import norm2

seeds = st.integers(0, 2**32 - 1)
FEW = ("car", "bicycle", "barrier", "traffic_cone")


@settings(max_examples=150, deadline=None)
@given(
    seed=seeds,
    samples=st.integers(1, 5),
    truths=st.integers(1, 25),
    predictions=st.integers(1, 60),
    coarse=st.booleans(),
    stray=st.booleans(),
    classes=st.sampled_from([FEW, ("car",)]),
)
def test_equals_the_rules_in_plain_loops(**case):
    found, truth = random_case(**case)
    metrics, expected = evaluate(found, truth), naive_metrics(found, truth)
    for name in DETECTION_CLASSES:
        assert metrics.label_aps[name] == pytest.approx(expected["aps"][name], abs=1e-12)
        assert metrics.label_tp_errors[name] == pytest.approx(expected["errors"][name], abs=1e-12, nan_ok=True)
    assert metrics.mean_ap == pytest.approx(expected["mean_ap"], abs=1e-12)
    assert metrics.nd_score == pytest.approx(expected["nd_score"], abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_order_of_samples_does_not_matter(seed):
    found, truth = random_case(seed, truths=30, predictions=120, stray=True, classes=FEW)
    shuffled = np.random.default_rng(seed).permutation(truth.sample_tokens).tolist()
    expected = evaluate(found, truth).summary()
    assert repr(evaluate(found.select(shuffled), truth.select(shuffled)).summary()) == repr(expected)
    assert repr(evaluate(found.select(shuffled), truth).summary()) == repr(expected)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_scores_count_by_their_order_alone_and_places_by_their_differences(seed, dx, dy):
    found, truth = random_case(seed)
    expected = evaluate(found, truth)
    rescaled = evaluate(replace(found, score=found.score / 8), truth)
    assert rescaled.label_aps == expected.label_aps
    move = np.array([dx, dy, 0.0])
    moved = evaluate(
        replace(found, translation=found.translation + move),
        replace(
            truth,
            translation=truth.translation + move,
            ego_translation=truth.ego_translation + move,
            racks=replace(truth.racks, translation=truth.racks.translation + move),
        ),
    )
    assert moved.mean_ap == pytest.approx(expected.mean_ap, abs=1e-9)


def test_perfect_predictions_reach_the_top():
    _, truth = random_case(3, samples=6, truths=200)
    truth = replace(truth, velocity=np.nan_to_num(truth.velocity), racks=BoxArrays.empty())
    found = PredictionArrays(
        truth.sample_tokens,
        truth.sample_index,
        truth.label,
        np.ones(len(truth)),
        truth.translation,
        truth.size,
        truth.rotation,
        truth.velocity,
        truth.attribute,
    )
    found = found.take(np.flatnonzero(truth.num_pts > 0))
    metrics = evaluate(found, truth)
    assert metrics.mean_ap == pytest.approx(1)
    assert metrics.nd_score == pytest.approx(1)


def test_later_of_equal_scores_goes_first():
    found, truth = random_case(0, samples=1, truths=1, predictions=2, classes=("car",))
    place = np.stack([truth.translation[0], truth.translation[0] + [1.5, 0, 0]])
    ego = truth.translation[:1]
    truth = replace(truth, ego_translation=ego, num_pts=[1])
    found = replace(found, translation=place, score=[0.5, 0.5], label=[0, 0], num_pts=None)
    curves = evaluate(found, truth).curves["car", 2.0]
    assert curves.errors["trans_err"][50] == pytest.approx(1.5)
    assert evaluate(found, truth).label_aps["car"][0.5] < evaluate(found, truth).label_aps["car"][2.0]


def test_nearest_ground_truth_that_is_taken_leaves_the_next_one():
    _, truth = random_case(0, samples=1, truths=3, classes=("car",))
    truth = replace(
        truth, ego_translation=[[0, 0, 0]], translation=[[0, 0, 0], [1, 0, 0], [9, 9, 0]], num_pts=[1, 1, 1]
    )
    found, _ = random_case(0, samples=1, truths=1, predictions=3, classes=("car",))
    found = replace(found, translation=[[0, 0, 0]] * 3, score=[0.9, 0.8, 0.7], label=[0] * 3, num_pts=None)
    found = replace(found, sample_tokens=truth.sample_tokens)
    curve = evaluate(found, truth).curves["car", 2.0]
    assert curve.precision[66] == 1.0  # two of three found by two predictions; the third is false
    assert curve.precision[68] == 0.0


def test_first_annotation_wins_among_equally_near_ones():
    _, truth = random_case(0, samples=1, truths=2, classes=("car",))
    place = [[1, 0, 0], [-1, 0, 0]]
    truth = replace(truth, ego_translation=[[0, 0, 0]], translation=place, num_pts=[1, 1])
    truth = replace(truth, attribute=[5, 6])
    found, _ = random_case(0, samples=1, truths=1, predictions=1, classes=("car",))
    found = replace(found, translation=[[0, 0, 0]], label=[0], attribute=[5], num_pts=None)
    assert evaluate(found, truth).label_tp_errors["car"]["attr_err"] == 0
    assert evaluate(replace(found, attribute=[6]), truth).label_tp_errors["car"]["attr_err"] == 1


def test_range_is_exclusive_and_horizontal():
    _, truth = random_case(0, samples=1, truths=2, classes=("car",))
    edge = CLASS_RANGE["car"]
    truth = replace(
        truth,
        ego_translation=[[0, 0, 0]],
        translation=[[edge, 0, 0], [np.nextafter(edge, 0), 0, 1000]],
        num_pts=[1, 1],
    )
    none = PredictionArrays.empty(truth.sample_tokens)
    assert evaluate(none, truth).ground_truth_counts["car"] == 1


def test_rack_boundary_belongs_to_the_rack_at_any_quaternion_length():
    racks = BoxArrays(np.array([0]), [[0, 0, 0]], [[2, 4, 6]], [[0.5, 0, 0, 0]])
    points = np.array([[2, 1, 3], [-2, -1, -3], [2.001, 0, 0], [0, 1.001, 0], [0, 0, 3.001]], float)
    assert in_racks(points, np.zeros(5, np.int64), racks).tolist() == [True, True, False, False, False]
    assert not in_racks(points, np.ones(5, np.int64), racks).any()


def test_empty_predictions_score_zero_and_say_so():
    _, truth = random_case(1)
    metrics = evaluate(PredictionArrays.empty(truth.sample_tokens), truth)
    assert metrics.mean_ap == 0 and metrics.nd_score == 0
    assert set(metrics.tp_errors.values()) == {1.0}
    assert "zero" in metrics.notes[0]


def test_unknown_velocities_leave_ap_and_are_counted():
    found, truth = random_case(1)
    expected = evaluate(found, truth)
    blind = evaluate(replace(found, velocity=np.full((len(found), 2), np.nan)), truth)
    assert blind.label_aps == expected.label_aps
    assert blind.tp_errors["vel_err"] == 1.0
    assert "NaN" in blind.notes[0]


def test_subset_equals_evaluating_the_subset_alone():
    found, truth = random_case(5, samples=6, truths=40, predictions=120)
    some = truth.sample_tokens[1:4]
    part = evaluate(found, truth, samples=some)
    assert repr(part.summary()) == repr(evaluate(found.select(some), truth.select(some)).summary())
    assert part.samples == 3
    assert sum(part.ground_truth_counts.values()) < sum(evaluate(found, truth).ground_truth_counts.values())


def test_parts_of_several_processes_equal_the_whole():
    found, truth = random_case(5, samples=6)
    halves = [found.select(truth.sample_tokens[0::2]), found.select(truth.sample_tokens[1::2])]
    assert repr(evaluate(concatenate(halves), truth).summary()) == repr(evaluate(found, truth).summary())
    with pytest.raises(ResultsError, match="twice"):
        concatenate([found, halves[0]])


def test_bands_share_out_the_boxes():
    found, truth = random_case(5, samples=6, truths=80, predictions=200)
    bands = distance_bands(found, truth, (0, 15, 50))
    whole = evaluate(found, truth)
    assert bands["ground truth"].sum() == sum(whole.ground_truth_counts.values())
    assert bands["predictions"].sum() == sum(whole.prediction_counts.values())
    assert list(bands.index) == ["0-15 m", "15-50 m"]


def test_tables_hold_the_summary():
    found, truth = random_case(5, samples=6, truths=80, predictions=200)
    metrics = evaluate(found, truth)
    tables, summary = metrics.tables(), metrics.summary()
    for name in DETECTION_CLASSES:
        assert tables["classes"].loc[name, "AP"] == summary["mean_dist_aps"][name]
        assert tables["thresholds"].loc[name, "AP@2.0 m"] == summary["label_aps"][name]["2.0"]
    assert tables["classes"].loc["all", "AP"] == tables["totals"].loc[0, "mAP"] == summary["mean_ap"]
    assert tables["totals"].loc[0, "mAVE"] == summary["tp_errors"]["vel_err"]


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_lengths_are_those_of_single_vectors_to_the_bit(seed):
    vectors = np.random.default_rng(seed).normal(0, 10, (50, 2))
    assert norm2(vectors).tolist() == [float(np.linalg.norm(vector)) for vector in vectors]


def test_configuration_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="ten classes"):
        DetectionConfig(class_range={"car": 50})
    with pytest.raises(ValueError, match="tp_threshold"):
        DetectionConfig(tp_threshold=3.0)
