"""RADIal results as files: ours, and the original's pickled arrays, which must not run anything."""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from radial_cases import car, random_frames

from portbev.errors import PortbevError, ResultsError
from portbev_radial.metrics import (
    SCHEMA,
    evaluate_arrays,
    evaluate_files,
    frame_boxes,
    original,
    read_boxes,
    read_original,
    write_boxes,
)


@pytest.fixture
def case():
    predictions, truth = random_frames(11, frames=5)
    names = [f"{index:06d}" for index in range(40, 45)]
    return frame_boxes(predictions, names, scored=True), frame_boxes(truth, names, scored=False)


def rewritten(path, boxes, change):
    """A file of boxes with a change made to its document."""
    write_boxes(path, boxes)
    document = json.loads(path.read_text())
    changed = change(document)
    path.write_text(json.dumps(document if changed is None else changed))
    return path


def test_boxes_come_back_as_they_were(tmp_path, case):
    for boxes in case:
        path = tmp_path / "boxes.json"
        write_boxes(path, boxes, meta={"model": "m"})
        again = read_boxes(path, scored=boxes.scored)
        assert again.frames == boxes.frames
        assert again.rows.tolist() == boxes.rows.tolist() and again.counts.tolist() == boxes.counts.tolist()
        assert json.loads(path.read_text())["meta"] == {"model": "m"}


def test_files_score_as_arrays_do(tmp_path, case):
    for name, boxes in zip(("results.json", "truth.json"), case, strict=True):
        write_boxes(tmp_path / name, boxes)
    expected = evaluate_arrays(case[0].arrays(), case[1].arrays()).summary()
    assert evaluate_files(tmp_path / "results.json", tmp_path / "truth.json").summary() == expected
    assert evaluate_files(tmp_path / "results.json", case[1]).summary() == expected


def test_file_is_replaced_whole_or_not_at_all(tmp_path, case, monkeypatch):
    path = tmp_path / "results.json"
    write_boxes(path, case[0])
    before = path.read_bytes()
    monkeypatch.setattr(os, "replace", _no_space)
    with pytest.raises(PortbevError, match="No space"):
        write_boxes(path, case[0].select(case[0].frames[:1]))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def _no_space(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema="other/1"), r"schema is 'other/1', expected 'portbev.radial/1'"),
        (lambda d: [1, 2], "schema is 'list'"),
        (lambda d: d.update(kind="ground_truth"), "holds 'ground_truth', expected 'predictions'"),
        (lambda d: d.update(columns=["x"]), r"columns are \['x'\].*A row is x y z_bottom"),
        (lambda d: d.update(frames=[]), "has no frames"),
        (lambda d: d["frames"].update({"000041": 5}), "frame 000041: boxes are a int, expected a list"),
        (lambda d: d["frames"].update({"000041": [[1, 2, 3]]}), "frame 000041, box 0: is 3 numbers, expected 8"),
        (lambda d: d["frames"].update({"000041": [7]}), "frame 000041, box 0: is a int, expected 8"),
        (lambda d: d["frames"].update({"000041": [[1] * 7 + ["0.5"]]}), "frame 000041, box 0: '0.5' is no number"),
        (lambda d: d["frames"].update({"000041": [[1] * 7 + [True]]}), "frame 000041, box 0: True is no number"),
        (lambda d: d["frames"].update({"000041": [[1] * 7 + [None]]}), "frame 000041, box 0: None is no number"),
        (lambda d: d["frames"].update({"000041": [[1] * 7 + [float("nan")]]}), "frame 000041, box 0: .*not finite"),
        (lambda d: d["frames"].update({"000041": [[1e999] * 8]}), "frame 000041, box 0: .*not finite"),
        (lambda d: d["frames"].update({"000041": [[1, 1, 1, -1, 1, 1, 1, 1]]}), "frame 000041, box 0: .*below zero"),
    ],
)
def test_faulty_files_are_refused_in_one_line_that_names_the_file(tmp_path, case, change, message):
    path = rewritten(tmp_path / "results.json", case[0], change)
    with pytest.raises(ResultsError, match=message) as caught:
        read_boxes(path, scored=True)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_extra_frames_of_a_file_are_named(tmp_path, case):
    path = rewritten(tmp_path / "results.json", case[0], lambda d: [d["frames"].pop("000042"), None][1])
    with pytest.raises(ResultsError, match=r"frame 000042: 1 of 5 frames have no predictions.*entry without boxes"):
        evaluate_files(path, case[1])
    rewritten(path, case[0], lambda d: d["frames"].update({"000099": []}))
    with pytest.raises(ResultsError, match="frame 000099: 1 frames are predicted"):
        evaluate_files(path, case[1])


def test_frame_that_is_given_twice_is_refused(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"frames": {"000001": [], "000001": []}}')
    with pytest.raises(ResultsError, match=r"results.json: key 000001: appears twice"):
        read_boxes(path, scored=True)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_damaged_json_is_refused(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError, match="not JSON"):
        read_boxes(path, scored=True)


def test_missing_files_are_named(tmp_path):
    for read in (lambda p: read_boxes(p, scored=True), lambda p: read_original(p, ["a"])):
        with pytest.raises(ResultsError, match=r"gone: cannot read .*No such file"):
            read(tmp_path / "gone")


# the original's results_3d.npy


READER = (original._Array, original._Dtype, original._Bytes, original._Scalar)


def objects(arrays):
    """An object array with one array per frame, whatever their shapes."""
    array = np.empty(len(arrays), object)
    for index, item in enumerate(arrays):
        array[index] = item
    return array


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", "<f2"])
def test_results_of_the_original_are_read(tmp_path, case, dtype):
    arrays = [rows.astype(dtype) for rows in case[0].arrays()]
    np.save(tmp_path / "results_3d.npy", objects(arrays), allow_pickle=True)
    found = read_original(tmp_path / "results_3d.npy", case[1].frames)
    expected = frame_boxes(arrays, case[1].frames, scored=True)
    assert found.frames == expected.frames and found.rows.tolist() == expected.rows.tolist()
    assert found.counts.tolist() == expected.counts.tolist()
    assert evaluate_files(tmp_path / "results_3d.npy", case[1]).summary() == evaluate_files_of(
        expected, case[1], tmp_path
    )


def evaluate_files_of(predictions, truth, folder):
    write_boxes(folder / "same.json", predictions)
    return evaluate_files(folder / "same.json", truth).summary()


def test_results_with_equally_many_boxes_in_every_frame_are_read(tmp_path):
    rng = np.random.default_rng(0)
    boxes = rng.uniform(1, 2, (3, 10, 8)).astype(np.float32)
    for array in (
        boxes,
        boxes.astype(object),
        np.asfortranarray(boxes),
        objects([np.asfortranarray(b) for b in boxes]),
    ):
        np.save(tmp_path / "results_3d.npy", array, allow_pickle=True)
        found = read_original(tmp_path / "results_3d.npy", ["a", "b", "c"])
        assert found.rows.tolist() == boxes.reshape(-1, 8).astype(float).tolist()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_every_pickle_protocol_is_read(tmp_path, protocol):
    arrays = [np.asfortranarray(np.arange(16, dtype=np.float32).reshape(2, 8)), np.zeros((0, 8), np.float32)]
    save_pickled(tmp_path / "r.npy", pickle.dumps(objects(arrays), protocol=protocol), (2,))
    found = read_original(tmp_path / "r.npy", ["a", "b"])
    assert found.counts.tolist() == [2, 0] and found.rows.tolist() == arrays[0].tolist()


def save_pickled(path, content, shape):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": shape})
        file.write(content)


class Evil:
    """Makes a file when it is unpickled the usual way."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class EvilState(Evil):
    """Sets an attribute of whatever it names."""

    def __reduce__(self):
        return np.float32(1).__reduce__()[0], (np.dtype("f4"), b"\0\0\0\0"), (None, {"x": Evil(self.path)})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Evil, r"posix.mkdir|nt.mkdir"),
        (EvilState, r"posix.mkdir|nt.mkdir"),
        (lambda path: OrderedDict(a=1), "collections.OrderedDict"),
        (lambda path: {"boxes_3d": 1}, "holds a dict"),
        (lambda path: "text", "holds a str"),
        (lambda path: objects([1, 2]), "an array of objects inside a frame"),
        (lambda path: np.array([["a"] * 8]), "values of type 'U1'"),
        (lambda path: np.ones((1, 8), complex), "values of type 'c16'"),
    ],
)
def test_pickles_that_hold_more_than_numbers_are_refused_and_not_run(tmp_path, make, message):
    trace = tmp_path / "was_run"
    np.save(tmp_path / "results_3d.npy", objects([np.ones((1, 8)), make(trace)]), allow_pickle=True)
    with pytest.raises(ResultsError, match=message) as caught:
        read_original(tmp_path / "results_3d.npy", ["a", "b"])
    assert not trace.exists()
    assert "write_boxes" in str(caught.value) and "results_3d.npy" in str(caught.value)


@pytest.mark.parametrize("name", ["numpy ndarray", "numpy dtype", "_codecs encode", "numpy.core.multiarray scalar"])
def test_pickle_cannot_change_the_reader(tmp_path, name):
    """Opcodes that set the attribute "numbers" of what is named, as pickles may do with a function."""
    target = b"c" + name.replace(" ", "\n").encode() + b"\n"
    change = b"N}" + pickle.BINUNICODE + b"\x07\0\0\0numbersNs" + pickle.TUPLE2 + pickle.BUILD
    save_pickled(tmp_path / "r.npy", target + change + b".", (1,))
    before = [dict(vars(kind)) for kind in READER]
    with pytest.raises(ResultsError, match=r"r\.npy"):
        read_original(tmp_path / "r.npy", ["a"])
    assert [vars(kind) for kind in READER] == before


@pytest.mark.parametrize("cut", [0, 5, 60, 130, 200, -1])
def test_truncated_results_are_refused(tmp_path, cut):
    path = tmp_path / "results_3d.npy"
    np.save(path, objects([np.ones((2, 8)), np.ones((3, 8))]), allow_pickle=True)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ResultsError, match=r"results_3d\.npy: not a readable \.npy file"):
        read_original(path, ["a", "b"])


def test_other_number_of_frames_is_refused(tmp_path):
    np.save(tmp_path / "r.npy", objects([np.ones((2, 8))] * 3), allow_pickle=True)
    with pytest.raises(ResultsError, match="results of 3 frames, but the ground truth has 2"):
        read_original(tmp_path / "r.npy", ["a", "b"])


def test_faulty_boxes_of_the_original_name_frame_and_file(tmp_path):
    broken = np.array([car(np.nan, 0, score=0.5)])
    np.save(tmp_path / "r.npy", objects([np.zeros((0, 8)), broken]), allow_pickle=True)
    with pytest.raises(ResultsError, match=r"r.npy: frame b, box 0: .*not finite"):
        read_original(tmp_path / "r.npy", ["a", "b"])
    np.save(tmp_path / "r.npy", objects([np.zeros((0, 8)), broken[:, :7]]), allow_pickle=True)
    with pytest.raises(ResultsError, match=r"r.npy: frame b: boxes of shape \(1, 7\)"):
        read_original(tmp_path / "r.npy", ["a", "b"])


def test_schema_is_written_down(tmp_path):
    write_boxes(tmp_path / "r.json", frame_boxes([[car(1, 2, score=0.5)], []], ["a", "b"], scored=True))
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["schema"] == SCHEMA == "portbev.radial/1"
    assert document["frames"] == {"a": [[1, 2, 0, 4, 2, 1.5, 0, 0.5]], "b": []}
