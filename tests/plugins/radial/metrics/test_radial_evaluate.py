"""Both RADIal evaluations against plain loops, each quirk by itself, and properties that they must have."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from radial_cases import car, random_frames
from radial_naive import reported, training

from portbev.boxes import footprint
from portbev.errors import ResultsError
from portbev_radial.metrics import IOU_THRESHOLDS, OVERLAPS, RANGES, bottom_rows, evaluate, evaluate_arrays, frame_boxes
from portbev_radial.metrics.constants import QUIRKS
from portbev_radial.metrics.reported import average_precision

seeds = st.integers(0, 2**32 - 1)
NAN = pytest.approx(float("nan"), nan_ok=True)


def both(predictions, truth):
    metrics = evaluate_arrays(predictions, truth)
    return metrics.official, metrics.fixed


@settings(max_examples=40, deadline=None)
@given(seed=seeds, frames=st.integers(1, 6), truths=st.integers(1, 5), noise=st.sampled_from([0.1, 0.3, 0.6]))
def test_reported_numbers_equal_the_rules_in_plain_loops(seed, **case):
    predictions, truth = random_frames(seed, **case)
    metrics = evaluate_arrays(predictions, truth)
    for quirks in QUIRKS:
        for (kind, threshold, name), score in metrics.scores(quirks).reported.items():
            ap, recall, iou = reported(predictions, truth, kind, threshold, RANGES[name], quirks)
            assert score.ap == pytest.approx(ap, abs=1e-9)
            assert score.recall == pytest.approx(recall, abs=1e-9)
            assert score.tp_iou == pytest.approx(iou, abs=1e-4 if quirks == "official" else 1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=seeds, frames=st.integers(1, 6), truths=st.integers(1, 5), noise=st.sampled_from([0.1, 0.3, 0.6]))
def test_training_numbers_equal_the_rules_in_plain_loops(seed, **case):
    predictions, truth = random_frames(seed, **case)
    metrics = evaluate_arrays(predictions, truth)
    for quirks in QUIRKS:
        scores = metrics.scores(quirks)
        for fixed_size, score in ((False, scores.training), (True, scores.training_fixed_size)):
            expected = training(predictions, truth, quirks, fixed_size)
            named = score.named()
            ours = [named[key] for key in ("mAP", "mAR", "range_error", "angle_error")]
            assert ours == pytest.approx(expected, abs=1e-4 if quirks == "official" else 1e-9, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_order_of_frames_does_not_matter_when_fixed(seed):
    predictions, truth = random_frames(seed)
    order = np.random.default_rng(seed).permutation(len(truth))
    shuffled = evaluate_arrays([predictions[i] for i in order], [truth[i] for i in order]).summary()["fixed"]
    expected = evaluate_arrays(predictions, truth).summary()["fixed"]
    assert flat(shuffled) == pytest.approx(flat(expected), abs=1e-9, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_order_in_a_file_does_not_matter(seed):
    predictions, truth = random_frames(seed)
    names = [f"{7 * index:06d}" for index in range(len(truth))]
    found, there = frame_boxes(predictions, names, scored=True), frame_boxes(truth, names, scored=False)
    assert evaluate(found.select(names[::-1]), there).summary() == evaluate(found, there).summary()


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_only_the_order_of_scores_counts_in_ap(seed):
    predictions, truth = random_frames(seed)
    assume(all((frame[:, 7] > 0.03).all() for frame in predictions))
    halved = [frame * [1, 1, 1, 1, 1, 1, 1, 0.5] for frame in predictions]
    for ours, expected in zip(both(halved, truth), both(predictions, truth), strict=True):
        assert {key: s.ap for key, s in ours.reported.items()} == {key: s.ap for key, s in expected.reported.items()}


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_perfect_predictions_reach_the_top(seed):
    truth = [frame[frame[:, 0] > 6] for frame in random_frames(seed, truths=4)[1]]
    apart = [frame[:1] for frame in truth]
    assume(any(len(frame) for frame in apart))
    fixed = evaluate_arrays([np.column_stack([frame, np.full(len(frame), 0.95)]) for frame in apart], apart).fixed
    for score in fixed.reported.values():
        assert score.ap == pytest.approx(100) or not score.ground_truth
        assert score.recall == pytest.approx(100) or not score.ground_truth
    within = [frame for frame in apart if len(frame) and frame[0, 0] <= 100]
    expected = [1, 1, 1, 0, 0] if within else [0, 0, 0, np.nan, np.nan]
    assert list(fixed.training.named().values()) == pytest.approx(expected, nan_ok=True)


def test_missed_and_false_boxes_of_empty_frames_count_when_fixed():
    there, elsewhere = [car(20, 0)], [car(20, 0, score=0.9)]
    official, fixed = both([elsewhere, [], elsewhere], [there, there, []])
    assert official.reported["bev", 0.7, "overall"].ap == pytest.approx(100)
    score = fixed.reported["bev", 0.7, "overall"]
    assert (score.ground_truth, score.predictions, score.pairs, score.recall) == (2, 2, 1, 50)
    assert score.ap == pytest.approx(100 * 51 / 101)


def test_first_prediction_of_all_leaves_its_ground_truth_free_officially():
    twice = [car(20, 0, score=0.9), car(20.1, 0, score=0.8)]
    official, fixed = both([twice], [[car(20, 0), car(40, 0)]])
    assert official.reported["bev", 0.5, "overall"].recall == 100  # the other car was never found
    assert fixed.reported["bev", 0.5, "overall"].recall == 50
    later = both([[car(80, 0, score=0.9)], twice], [[car(60, 0)], [car(20, 0), car(40, 0)]])
    assert later[0].reported["bev", 0.5, "overall"].pairs == later[1].reported["bev", 0.5, "overall"].pairs == 1


def test_box_on_the_border_of_two_ranges_is_in_the_farther_one_when_fixed():
    official, fixed = both([[car(50, 0, score=0.9)]], [[car(50, 0)]])
    counts = [[s.reported["bev", 0.7, name].ground_truth for name in RANGES] for s in (official, fixed)]
    assert counts == [[0, 0, 1], [0, 1, 1]]


def test_weak_predictions_do_not_count():
    for scores in both([[car(20, 0, score=0.009), car(30, 0, score=0.011)]], [[car(20, 0)]]):
        score = scores.reported["bev", 0.5, "overall"]
        assert (score.predictions, score.pairs) == (1, 0)


def test_errors_of_pairs_are_those_of_the_boxes():
    found = car(21, 0.5, z=0.25, yaw=np.pi - 0.1, size=(4.2, 2.1, 1.5), score=0.9)
    for scores in both([[found]], [[car(20.5, 0.5)]]):
        errors = scores.reported["bev", 0.5, "overall"].tp_errors
        expected = {"x": 0.5, "y": 0, "z": 0.25, "dx": 0.2, "dy": 0.1, "dz": 0, "yaw": 0.1}
        expected |= {"centre": np.hypot(0.5, 0.25), "size": np.hypot(0.2, 0.1)}
        assert errors == pytest.approx(expected, abs=1e-6)


def test_let_finds_boxes_that_are_too_far_to_touch():
    for scores in both([[car(97.2, 0, score=0.9)]], [[car(90, 0)]]):
        assert scores.mean_ap("let") == pytest.approx(100)
        assert scores.mean_ap("bev") == 0


def test_many_boxes_of_a_frame_are_scored_as_few_are():
    rng = np.random.default_rng(0)
    far = [car(x, y, score=0.02) for x, y in rng.uniform([60, -90], [95, 90], (1100, 2))]  # several blocks of pairs
    few, many = (both([[car(20, 0, score=0.95), *more], []], [[car(20.2, 0)]] * 2) for more in ([], far))
    for one, other in zip(few, many, strict=True):
        assert one.reported["bev", 0.5, "0-50"] == other.reported["bev", 0.5, "0-50"]
        assert one.training == other.training


def test_precision_falls_after_the_first_wrong_box():
    assert average_precision(np.array([True, False, True]), 2) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert average_precision(np.array([False, False]), 3) == 0


def test_rear_edge_decides_officially_where_the_centre_should():
    near = [car(6, 0, score=0.95)]  # its rear edge is at 4 m
    official, fixed = both([near], [[car(6, 0)]])
    assert official.training.mean_recall == 0
    assert fixed.training.mean_recall == 1


def test_one_box_finds_one_ground_truth_when_fixed():
    official, fixed = both([[car(20, 0, score=0.95)]], [[car(20, 0.3), car(20, -0.3)]])
    assert official.training.mean_recall == 1
    assert fixed.training.mean_recall == 0.5
    side_by_side = [car(20, 0.99, size=(4, 2, 1.5), score=0.95), car(20, -0.99, size=(4, 2, 1.5), score=0.94)]
    official, fixed = both([side_by_side], [[car(20, 0, size=(4, 3.98, 1.5))]])
    assert official.training.mean_precision == 1
    assert fixed.training.mean_precision == 0.5


def test_range_errors_are_those_of_the_pairs_when_fixed():
    truth = [car(20, 0), car(60, 10)]
    found = [car(60.5, 10, score=0.91), car(20.25, 0, score=0.95)]  # the better one second
    official, fixed = both([found], [truth])
    expected = (0.25 + abs(np.hypot(60.5, 10) - np.hypot(60, 10))) / 2
    assert fixed.training.range_error == pytest.approx(expected)
    assert official.training.range_error > 30


def test_fixed_size_takes_points_for_cars():
    found, truth = [[car(20, 0, yaw=1.5, size=(9, 3, 2), score=0.95)]], [[car(20.1, 0)]]
    for scores in both(found, truth):
        assert scores.training.mean_precision == 0
        assert scores.training_fixed_size.mean_precision == 1


def test_worse_of_overlapping_predictions_is_suppressed():
    found = [car(20, 0, score=0.5), car(20.5, 0, score=0.95)]
    for scores in both([found], [[car(20, 0)]]):
        assert scores.training.precision == (1.0,) * 9


@pytest.mark.parametrize("truth", [[[car(20, 0)], []], [[], []]])
def test_no_predictions_score_zero_and_say_so(truth):
    metrics = evaluate_arrays([[], []], truth)
    assert "zero" in metrics.notes[0]
    for scores in (metrics.official, metrics.fixed):
        for score in scores.reported.values():
            assert (score.ap, score.recall, score.tp_iou) == (0, 0, 0)
            assert np.isnan(list(score.tp_errors.values())).all()
        for score in (scores.training, scores.training_fixed_size):
            assert list(score.named().values()) == pytest.approx([0, 0, 0, np.nan, np.nan], nan_ok=True)


def test_nothing_at_all_scores_zero():
    metrics = evaluate_arrays([], [])
    assert metrics.frames == 0 and metrics.fixed.mean_ap("bev") == 0


def test_absurd_boxes_are_wrong_and_harm_no_other():
    found, truth = [[car(20, 0, score=0.5)]], [[car(20, 0)]]
    expected = evaluate_arrays(found, truth)
    absurd = car(1e30, 1e200, size=(1e30, 1e200, 1e300), score=0.95)
    metrics = evaluate_arrays([[absurd, *found[0]]], truth)
    for quirks in QUIRKS:
        cell = metrics.scores(quirks).reported["3d", 0.7, "0-50"]
        assert cell == expected.scores(quirks).reported["3d", 0.7, "0-50"]


def test_faults_name_the_frame():
    truth = [[car(20, 0)], [car(20, 0)]]
    good = [car(20, 0, score=0.5)]
    with pytest.raises(ResultsError, match=r"frame 000001, box 1: .*nan.* is not finite"):
        evaluate_arrays([good, [*good, car(np.nan, 0, score=0.5)]], truth)
    with pytest.raises(ResultsError, match=r"frame 000001, box 0: .*inf.* is not finite"):
        evaluate_arrays([good, [car(20, 0, score=np.inf)]], truth)
    with pytest.raises(ResultsError, match=r"frame 000000, box 0: .*size below zero"):
        evaluate_arrays([[car(20, 0, size=(4, -2, 1), score=0.5)], good], truth)
    with pytest.raises(ResultsError, match=r"frame 000001: boxes of shape \(1, 7\), expected \(n, 8\)"):
        evaluate_arrays([good, [car(20, 0)]], truth)
    with pytest.raises(ResultsError, match=r"frame 000000: boxes that are no table of numbers"):
        evaluate_arrays([[[1, 2], [3]], good], truth)
    with pytest.raises(ResultsError, match="predictions of 1 frames, but ground truth of 2"):
        evaluate_arrays([good], truth)
    with pytest.raises(ResultsError, match="8 columns"):
        evaluate(frame_boxes(truth, scored=False), frame_boxes(truth, scored=False))


def test_missing_extra_and_repeated_frames_are_named():
    truth = frame_boxes([[car(20, 0)]] * 3, ["a", "b", "c"], scored=False)
    some = frame_boxes([[]], ["b"], scored=True)
    with pytest.raises(ResultsError, match="frame a: 2 of 3 frames have no predictions"):
        evaluate(some, truth)
    many = frame_boxes([[]] * 5, ["a", "b", "x", "c", "y"], scored=True)
    with pytest.raises(ResultsError, match="frame x: 2 frames are predicted that the ground truth does not have"):
        evaluate(many, truth)
    with pytest.raises(ResultsError, match="frame b: appears twice"):
        frame_boxes([[]] * 3, ["a", "b", "b"], scored=True)


def test_tables_and_json_hold_the_same_numbers():
    metrics = evaluate_arrays(*random_frames(4, frames=12, noise=0.2))
    tables, summary = metrics.tables(), json.loads(json.dumps(metrics.summary(), allow_nan=False))
    for quirks in QUIRKS:
        for kind in OVERLAPS:
            for name in RANGES:
                for threshold in IOU_THRESHOLDS:
                    cell = summary[quirks]["reported"][kind][f"IoU{threshold}/{name}"]
                    row = tables["reported"].loc[kind, str(threshold), name]
                    assert row["AP", quirks] == cell["AP"] and row["recall", quirks] == cell["recall"]
                    pairs = tables["pairs"].loc[kind, str(threshold), name]
                    assert pairs["centre", quirks] == NAN or pairs["centre", quirks] == cell["tp_errors"]["centre"]
                mean = tables["reported"].loc[kind, "mean", name]["AP", quirks]
                assert mean == pytest.approx(summary[quirks]["mean_ap"][kind][name])
        assert tables["training"]["boxes", quirks]["F1"] == summary[quirks]["training"]["F1"]


def test_rows_stand_on_the_bottom_of_portbevs_boxes():
    boxes = np.array([[20, 3, 1.0, 4, 2, 1.5, 0.3, 5, 6]])
    rows = bottom_rows(boxes, [0.7])
    assert rows.tolist() == [[20, 3, 0.25, 4, 2, 1.5, 0.3, 0.7]]
    assert bottom_rows(boxes).tolist() == [[20, 3, 0.25, 4, 2, 1.5, 0.3]]
    assert boxes[0, 2] == 1.0
    assert footprint(rows).tolist() == footprint(boxes).tolist()


def flat(value):
    if isinstance(value, dict):
        return [number for item in value.values() for number in flat(item)]
    return [np.nan if value is None else value]


def test_distances_by_hand():
    """Cars at 20 m and 60 m, both found, with a better wrong box at 40 m."""
    predictions = [[car(20, 0, score=0.5), car(40, 0, score=0.9)], [car(0, 60, score=0.4)]]
    truth = [[car(20, 0)], [car(0, 60)]]
    near = evaluate(frame_boxes(predictions, scored=True), frame_boxes(truth, scored=False), (0, 30))
    assert (near.ground_truth, near.predictions) == (1, 1)
    assert near.fixed.mean_ap("bev") == pytest.approx(100)
    middle = evaluate(frame_boxes(predictions, scored=True), frame_boxes(truth, scored=False), (10, 50))
    assert (middle.ground_truth, middle.predictions) == (1, 2)
    assert middle.fixed.mean_ap("bev") == pytest.approx(50)  # the one car is found second
    rings = evaluate_arrays(predictions, truth).by_distance
    assert [
        (ring["from"], ring["annotated"], ring["predicted"]) for ring in rings if ring["annotated"] or ring["predicted"]
    ] == [
        (20, 1, 1),
        (40, 0, 1),
        (50, 1, 1),
    ]
    figures = {ring["from"]: ring["BEV_AP"] for ring in rings}
    assert figures[20] == figures[50] == pytest.approx(100) and np.isnan(figures[40])


@pytest.mark.parametrize("seed", range(6))
def test_a_ring_is_an_evaluation_of_its_distances_alone(seed):
    predictions, truth = random_frames(seed, frames=8, truths=6, strays=4)
    found, there = frame_boxes(predictions, scored=True), frame_boxes(truth, scored=False)
    for ring in evaluate(found, there).by_distance:
        alone = evaluate(found, there, (ring["from"], ring["to"]))
        expected = alone.fixed.mean_ap("bev") if alone.ground_truth else np.nan
        assert ring["BEV_AP"] == pytest.approx(expected, nan_ok=True) and ring["annotated"] == alone.ground_truth
