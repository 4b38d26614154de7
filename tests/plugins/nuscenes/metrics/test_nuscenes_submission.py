"""Reading and writing submissions: every valid JSON gives the same arrays; every bad box is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes_cases import box, random_case, write_tables

from portbev.errors import PortbevError, ResultsError
from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.metrics import (
    boxstream,
    evaluate,
    evaluate_files,
    load_ground_truth,
    load_predictions,
    write_predictions,
)
from portbev_nuscenes.metrics import submission as submission_module

META = {"use_camera": True}


def save(path: Path, results, meta=META, **dump) -> Path:
    content = {"results": results} if meta is None else {"meta": meta, "results": results}
    path.write_text(json.dumps(content, **dump))
    return path


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_written_submission_reads_back_to_the_bit(tmp_path_factory, seed):
    found, _ = random_case(seed)
    path = tmp_path_factory.mktemp("submission") / "predictions.json"
    write_predictions(path, found, {"use_lidar": True})
    back = load_predictions(path)
    for name in ("sample_index", "label", "score", "translation", "size", "rotation", "velocity", "attribute"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name), err_msg=name)
    assert (back.num_pts == found.num_pts).all()
    assert back.meta == {"use_lidar": True} and back.sample_tokens == found.sample_tokens


@settings(max_examples=50, deadline=None)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from([None, 0, 3]),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", "\r\n : ")]),
    st.booleans(),
)
def test_key_order_whitespace_escapes_and_extra_keys_do_not_matter(tmp_path_factory, random, indent, separators, early):
    tokens = ["tok/é", 'quote"}],"', "c" * 32]
    results = {
        token: [box(token, detection_score=0.1 * n) for n in range(position)] for position, token in enumerate(tokens)
    }
    folder = tmp_path_factory.mktemp("submission")
    plain = load_predictions(save(folder / "plain.json", results))

    def shuffled(one):
        items = [*one.items(), ("extra", {"detection_name": "}],{", "more": [{"a": [1]}], "none": None})]
        random.shuffle(items)
        return dict(items)

    stirred = {token: [shuffled(one) for one in boxes] for token, boxes in results.items()}
    content = {"other": [{"results": {}}], "results": stirred, "meta": META}
    if early:
        content = dict(reversed(content.items()))
    path = folder / "stirred.json"
    path.write_text(json.dumps(content, indent=indent, separators=separators, ensure_ascii=early))
    again = load_predictions(path)
    assert again.sample_tokens == plain.sample_tokens == tuple(tokens)
    assert repr(again) == repr(plain).replace("plain.json", "stirred.json")


@pytest.mark.parametrize("block", [200, 333, 700, 5000])
@pytest.mark.parametrize("separators", [(",", ":"), (" , ", " : ")])
def test_every_way_of_reading_gives_the_same(tmp_path, monkeypatch, block, separators):
    results = {f"s{n}": [box(f"s{n}", detection_score=1, translation=[n, i, 0]) for i in range(n)] for n in range(9)}
    results["s4"][1]["velocity"] = [float("nan"), 1]
    path = save(tmp_path / "results.json", results, separators=separators)
    whole = load_predictions(path)
    monkeypatch.setattr(boxstream.BoxStream.__init__, "__defaults__", (block,))
    assert len(list(boxstream.BoxStream(path))) > (block < 5000)
    assert repr(load_predictions(path)) == repr(whole)
    monkeypatch.setattr(submission_module, "BoxStream", refuse)
    monkeypatch.setattr(submission_module, "_BLOCK", 3)
    assert repr(load_predictions(path)) == repr(whole)
    assert whole.translation[-1].tolist() == [8, 7, 0] and np.isnan(whole.velocity).sum() == 1


def refuse(path):
    raise boxstream.UnusualError


def test_keys_beside_the_results_are_never_taken_for_samples(tmp_path, monkeypatch):
    results = {f"s{n}": [box(f"s{n}")] * 3 for n in range(9)}
    path = tmp_path / "results.json"
    for content in (
        {"meta": META, "results": results, "other": {"k1": [box("k1")], "k2": [box("k2")], "k3": [box("k3")]}},
        {"meta": {"a": "{"}, "results": results, "other": [{"k1": [box("k1")], "k2": [box("k2")]}]},
        {"results": results, "other": {"k1": [box("k1")], "k2": [box("k2")]}, "meta": META},
        {"other": {"results": {"k1": [box("k1")]}}, "results": results, "meta": META},
    ):
        path.write_text(json.dumps(content))
        for block in range(40, 9000, 217):
            monkeypatch.setattr(boxstream.BoxStream.__init__, "__defaults__", (block,))
            found = load_predictions(path)
            assert found.sample_tokens == tuple(results) and len(found) == 27
            assert found.meta == content["meta"]


def test_last_of_equal_sample_keys_counts_as_in_python(tmp_path, monkeypatch):
    first, last = json.dumps([box("s", detection_score=0.25)] * 9), json.dumps([box("s", detection_score=0.75)])
    path = tmp_path / "results.json"
    path.write_text(f'{{"meta": {{}}, "results": {{"s": {first}, "t": {first}, "s": {last}}}}}')
    for block in (300, 1 << 20):
        monkeypatch.setattr(boxstream.BoxStream.__init__, "__defaults__", (block,))
        assert load_predictions(path).select(["s"]).score.tolist() == [0.75]


def test_box_is_matched_where_its_own_token_says(tmp_path):
    results = {"a": [box("b"), box("a"), box("nowhere")], "b": []}
    found = load_predictions(save(tmp_path / "results.json", results))
    assert found.sample_index.tolist() == [0, 0, 0]
    assert found.lookup.tolist() == [1, 0, -1]
    assert found.select(["a"]).lookup.tolist() == [-1, 0, -1]


def test_nan_velocity_is_unknown_also_beside_words_that_look_like_it(tmp_path):
    odd = "the NaN, token"
    results = {odd: [box(odd, velocity=[float("nan"), 1.0], note="NaN"), box(odd)], "t": []}
    found = load_predictions(save(tmp_path / "results.json", results, indent=1))
    assert np.isnan(found.velocity).tolist() == [[True, False], [False, False]]
    assert found.velocity[0, 1] == 1.0 and found.sample_tokens == (odd, "t") and found.lookup_index is None


BAD = {
    "NaN score": ({"detection_score": float("nan")}, "detection_score is NaN or infinite"),
    "infinite score": ({"detection_score": float("-inf")}, "detection_score is NaN or infinite"),
    "NaN translation": ({"translation": [0.0, float("nan"), 0.0]}, "translation is NaN or infinite"),
    "overflowing translation": ({"translation": [0.0, 10**400, 0.0]}, "translation is NaN or infinite"),
    "infinite size": ({"size": [1.0, float("inf"), 1.0]}, "size is NaN or infinite"),
    "infinite velocity": ({"velocity": [float("inf"), 0.0]}, "velocity is NaN or infinite"),
    "NaN rotation": ({"rotation": [1.0, float("nan"), 0.0, 0.0]}, "rotation is NaN or infinite"),
    "zero size": ({"size": [1.0, 0.0, 1.0]}, "size must be positive"),
    "negative size": ({"size": [1.0, 2.0, -1.0]}, "size must be positive"),
    "unknown class": ({"detection_name": "tram"}, "unknown class 'tram'"),
    "unknown attribute": ({"attribute_name": "vehicle.flying"}, "unknown attribute 'vehicle.flying'"),
    "long velocity": ({"velocity": [0.0, 0.0, 0.0]}, "velocity must have 2 numbers"),
    "short translation": ({"translation": [0.0, 0.0]}, "translation must have 3 numbers"),
    "no list": ({"size": 3}, "size must have 3 numbers, found 3"),
    "text for a number": ({"detection_score": "0.5"}, "detection_score must hold numbers, found '0.5'"),
    "null": ({"velocity": [None, None]}, "velocity must hold numbers, found None"),
    "no text": ({"sample_token": 5}, "sample_token must be text"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("beside_nan", [False, True])
def test_bad_box_is_named_by_sample_and_index(tmp_path, case, beside_nan):
    change, message = BAD[case]
    results = {f"s{n}": [box(f"s{n}") for _ in range(4)] for n in range(5)}
    if beside_nan:
        results["s0"][1] = box("s0", velocity=[float("nan")] * 2)
    results["s3"][2] = box("s3") | change
    with pytest.raises(ResultsError) as caught:
        load_predictions(save(tmp_path / "results.json", results))
    assert message in str(caught.value)
    assert "sample s3" in str(caught.value) and "box 2" in str(caught.value) and "results.json" in str(caught.value)
    assert "\n" not in str(caught.value) and "\x7f" not in str(caught.value)


def test_missing_field_is_named(tmp_path):
    results = {"s0": [box("s0"), {k: v for k, v in box("s0").items() if k != "velocity"}]}
    with pytest.raises(ResultsError, match="sample s0, box 1: the field velocity is missing"):
        load_predictions(save(tmp_path / "results.json", results))
    with pytest.raises(ResultsError, match="sample s0: the boxes must be a list"):
        load_predictions(save(tmp_path / "results.json", {"s0": {"boxes": 1}}))
    with pytest.raises(ResultsError, match="box 0: a box must be an object"):
        load_predictions(save(tmp_path / "results.json", {"s0": [[1, 2]]}))


def test_file_that_is_no_submission_is_refused(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(ResultsError, match="cannot read"):
        load_predictions(path)
    for content, message in (
        (b"", "empty"),
        (b'{"meta": {}, "results": {"a": [', "truncated"),
        (b'{"meta": {}, "results": {"a": [NaN', "truncated"),
        (b"NaN", "truncated"),
        (b'{"meta": {}, "results": {"\xff": []}}', "damaged"),
        (b"[]", "not a detection submission"),
        (b'{"meta": {}}', "not a detection submission .*results"),
        (b'{"meta": {}, "results": []}', "not a detection submission"),
        (b'{"results": {}}', '"meta" is missing'),
    ):
        path.write_bytes(content)
        with pytest.raises(ResultsError, match=message):
            load_predictions(path)


def test_too_many_boxes_are_refused(tmp_path):
    path = save(tmp_path / "results.json", {"s0": [box("s0")] * 500, "s1": [box("s1")] * 501})
    with pytest.raises(ResultsError, match="sample s1 has 501 boxes, at most 500"):
        load_predictions(path)
    found, truth = random_case(0, samples=1, predictions=501)
    with pytest.raises(ResultsError, match="sample sample0 has 501 boxes"):
        evaluate(found, truth)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", np.nan, "score is NaN"),
        ("translation", np.inf, "translation is NaN or infinite"),
        ("size", 0.0, "size must be positive"),
        ("velocity", -np.inf, "velocity is NaN or infinite"),
        ("label", 10, "no class has the index 10"),
        ("attribute", 8, "no attribute has the index 8"),
    ],
)
def test_bad_array_entry_is_named_by_sample_and_index(column, value, message):
    found, truth = random_case(0)
    row = 17
    getattr(found, column)[row] = value
    index = int((found.sample_index[:row] == found.sample_index[row]).sum())
    token = found.sample_tokens[found.sample_index[row]]
    with pytest.raises(ResultsError, match=f"sample {token}, box {index}: {message}"):
        evaluate(found, truth)


def test_missing_and_extra_samples_are_both_named(tmp_path):
    found, truth = random_case(0, samples=6)
    keep = found.select(truth.sample_tokens[:2])
    with pytest.raises(ResultsError, match=r"which has 6: 4 missing \(.*, \.\.\.\)") as caught:
        evaluate(keep, truth)
    assert truth.sample_tokens[2] in str(caught.value)
    with pytest.raises(ResultsError, match=r"4 extra") as caught:
        evaluate(found, truth.select(truth.sample_tokens[:2]))
    assert truth.sample_tokens[2] in str(caught.value)


def test_official_split_needs_its_samples_exactly_and_a_custom_one_allows_more(tmp_path):
    found, truth = random_case(0, samples=6)
    write_tables(tmp_path, truth, {"scene-0103": [0, 1, 2, 3], "scene-x": [4, 5]})
    (tmp_path / "v1.0-mini" / "splits.json").write_text('{"part": ["scene-x"]}')
    path = tmp_path / "results.json"
    write_predictions(path, found)
    assert evaluate_files(path, tmp_path, "v1.0-mini", "part").mean_ap >= 0
    with pytest.raises(ResultsError, match="split 'mini_val', which has 4: 2 extra"):
        evaluate_files(path, tmp_path, "v1.0-mini", "mini_val")
    write_predictions(path, found.select(truth.sample_tokens[:5]))
    with pytest.raises(ResultsError, match="split 'part', which has 2: 1 missing"):
        evaluate_files(path, tmp_path, "v1.0-mini", "part")


def test_all_empty_submission_scores_zero(tmp_path):
    _, truth = random_case(0)
    write_tables(tmp_path, truth)
    path = save(tmp_path / "results.json", {token: [] for token in truth.sample_tokens})
    metrics = evaluate_files(path, tmp_path, "v1.0-mini", "custom")
    assert metrics.mean_ap == 0 and metrics.nd_score == 0 and set(metrics.tp_errors.values()) == {1.0}
    metrics.write(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "metrics_summary.json").read_text())["nd_score"] == 0
    assert len(json.loads((tmp_path / "out" / "metrics_details.json").read_text())) == 40


def test_files_and_arrays_give_the_same_numbers(tmp_path):
    found, truth = random_case(2, samples=6, truths=60, predictions=200)
    write_tables(tmp_path, truth)
    write_predictions(tmp_path / "predictions.json", found)
    read = load_ground_truth(tmp_path, "v1.0-mini", "custom")
    assert np.isnan(read.velocity).all()  # every object was seen once
    assert {DETECTION_CLASSES[label] for label in read.label} == {DETECTION_CLASSES[label] for label in truth.label}
    from dataclasses import replace

    summary = evaluate_files(tmp_path / "predictions.json", tmp_path, "v1.0-mini", "custom").summary()
    expected = evaluate(found, replace(truth, velocity=np.full((60, 2), np.nan))).summary()
    for key in ("label_aps", "label_tp_errors", "mean_ap", "nd_score"):
        assert repr(summary[key]) == repr(expected[key])


def test_writer_refuses_what_cannot_be_scored_and_leaves_the_old_file(tmp_path):
    found, _ = random_case(0)
    path = tmp_path / "predictions.json"
    path.write_text("old")
    found.velocity[3, 0] = np.nan
    with pytest.raises(ResultsError, match="velocity is NaN"):
        write_predictions(path, found)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["predictions.json"]
    (tmp_path / "file").touch()
    found.velocity[3, 0] = 0
    with pytest.raises(PortbevError, match="cannot write"):
        write_predictions(tmp_path / "file" / "predictions.json", found)
