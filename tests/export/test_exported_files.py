"""Files of exports: what is refused, with one line, and that nothing is left behind."""

from __future__ import annotations

import errno
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from portbev.cli import main
from portbev.digests import file_digest
from portbev.errors import DataError, DisagreementError, ExportError, PortbevError
from portbev.export import engines, parity, run, triton
from portbev.export.interface import Field
from portbev.export.load import load
from portbev.export.manifest import (
    BoxParity,
    Manifest,
    OutputParity,
    Parity,
    TensorFacts,
    WeightFacts,
    manifest_path,
    read_manifest,
    write_manifest,
)
from portbev.export.requests import checked
from portbev.host import cxx_compiler


class Doubled(nn.Module):
    """A graph."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (2 * x,)


def facts(**changes: Any) -> Manifest:
    """The manifest of a graph that doubles what it gets."""
    boxes = BoxParity(
        boxes=1, unmatched=0, max_center=0, max_size=0, max_yaw=0, max_velocity=0, max_score=0,
        tolerance_center=0.01, tolerance_score=0.001,
    )  # fmt: skip
    outputs = [OutputParity(name="y", max_abs=0, scale=1, max_rel=0, tolerance=1e-4)]
    found = Parity(samples=1, tokens=["a"], data="d", split="s", streams=None, outputs=outputs, boxes=boxes)
    weights = WeightFacts(kind="model", step=1, checkpoint="c", digest="0", parameters=1)
    values: dict[str, Any] = {
        "name": "x", "format": "pt2", "file": "x.pt2", "family": "f", "data_kind": "k", "batch": 1,
        "precision": "float32", "state": {}, "classes": ["car"], "box_frame": "ego", "postprocessing": "none",
        "inputs": [TensorFacts(name="x", dtype="float32", shape=[2, None], meaning="what is doubled", lengths=[2, 9])],
        "outputs": [TensorFacts(name="y", dtype="float32", shape=[2, None], meaning="twice x")],
        "preprocessing": {}, "request": {}, "config": {}, "weights": weights, "versions": {}, "parity": found,
        "created": "now", "files": {},
    }  # fmt: skip
    return Manifest(**{**values, **changes})


@pytest.fixture(scope="module")
def program() -> Any:
    from portbev.export.interface import Length

    return engines.traced(Doubled(), {"x": torch.ones(2, 3)}, {"x": Length(1, "n", 2, 9)})


@pytest.fixture
def export(program: Any, tmp_path: Path) -> Path:
    """A file with its manifest."""
    path = tmp_path / "x.pt2"
    engines.write(program, "pt2", path, ["x"], ["y"])
    write_manifest(facts(files={"x.pt2": file_digest(path)}), manifest_path(path))
    return path


def test_an_export_is_a_function_of_named_tensors(export: Path) -> None:
    loaded = load(export)
    for length in (2, 9):
        x = torch.rand(2, length)
        assert torch.equal(loaded({"x": x})["y"], 2 * x)


def test_a_graph_is_for_contiguous_inputs_whatever_the_examples_strides() -> None:
    turned = engines.traced(Doubled(), {"x": torch.ones(3, 2).T}, {})
    (given,) = (node.meta["val"] for node in turned.graph.nodes if node.op == "placeholder")
    assert given.is_contiguous()


@pytest.mark.skipif(cxx_compiler() is None, reason="no C++ compiler")
def test_a_compiled_package_is_the_same_function(program: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.aoti.pt2"
    engines.write(program, "aoti", path, ["x"], ["y"])
    write_manifest(facts(format="aoti", file=path.name, files={path.name: file_digest(path)}), manifest_path(path))
    loaded = load(path)
    for length in (2, 9):
        x = torch.rand(2, length)
        assert torch.equal(loaded({"x": x})["y"], 2 * x)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "x: the export's input is missing. Give float32 (2, any): what is doubled"),
        ({"x": torch.ones(2, 3), "z": torch.ones(1)}, "z: is no input of the export. Inputs: x"),
        ({"x": torch.ones(2, 3, dtype=torch.float64)}, "x: is float64 (2, 3). Give float32 (2, any)"),
        ({"x": torch.ones(3, 3)}, "x: is float32 (3, 3). Give float32 (2, any)"),
        ({"x": torch.ones(2, 10)}, "x: is float32 (2, 10)."),
    ],
)
def test_an_input_that_does_not_fit_is_named(export: Path, inputs: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load(export)(inputs)
    assert str(caught.value).startswith(said)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def edited(path: Path) -> None:
    beside = manifest_path(path)
    beside.write_text(beside.read_text().replace('"car"', '"bus"'))


def foreign(path: Path) -> None:
    beside = manifest_path(path)
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "schema": "portbev.export/9"}))


def no_json(path: Path) -> None:
    manifest_path(path).write_text("{")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (cut, "its hash is not the manifest's"),
        (edited, "was edited after the export"),
        (foreign, r"schema is 'portbev.export/9', this version reads 'portbev.export/1'"),
        (no_json, "cannot be read"),
        (lambda path: manifest_path(path).unlink(), "manifest that belongs beside an export is missing"),
        (lambda path: path.unlink(), "no such export"),
    ],
)
def test_a_file_that_is_not_what_was_written_is_refused(export: Path, fault: Callable[[Path], None], said: str) -> None:
    fault(export)
    with pytest.raises(PortbevError, match=said):
        load(export)


def test_a_file_of_something_else_is_refused_even_with_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(b"no program")
    write_manifest(facts(files={"x.pt2": file_digest(path)}), manifest_path(path))
    assert read_manifest(path).file == "x.pt2"
    with pytest.raises(ExportError, match="cannot be loaded"):
        load(path)


class Bomb:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("place", ["data/sample_inputs/model.pt", "data/constants/model_constants_config.json"])
def test_a_program_that_would_execute_code_is_refused_and_does_not(export: Path, tmp_path: Path, place: str) -> None:
    went_off, content = tmp_path / "went_off", io.BytesIO()
    torch.save(Bomb(went_off), content)
    with zipfile.ZipFile(export) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = [name for name in members if name.endswith(place)]
    entry = {"path_name": "custom_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    members[name] = content.getvalue() if place.endswith(".pt") else json.dumps({"config": {"x": entry}}).encode()
    members[name.replace("model_constants_config.json", "custom_obj_0")] = content.getvalue()
    with zipfile.ZipFile(export, "w") as archive:
        for member, value in members.items():
            archive.writestr(member, value)
    write_manifest(facts(files={"x.pt2": file_digest(export)}), manifest_path(export))
    with pytest.raises(ExportError, match="holds pickled objects that are more than tensors"):
        load(export)
    assert not went_off.exists()


class FakeForm:
    temporal, batch, postprocessing = False, 1, "none"

    def inputs(self, batch: Any, state: Any) -> dict[str, torch.Tensor]:
        return {"x": torch.ones(2, 3)}

    def module(self, model: Any, batch: Any) -> nn.Module:
        return Doubled()

    def outputs(self) -> tuple[str, ...]:
        return ("y",)

    def lengths(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, program: Any) -> None:
    """:func:`export_run` without a run: its graph doubles what it gets."""
    trained: Any = type(
        "T", (), {"config": type("C", (), {"name": "x"}), "weights": "model", "step": 1, "notes": [], "model": None}
    )
    trained.dataset = type("D", (), {"split": "val"})
    monkeypatch.setattr(run, "open_trained", lambda *a, **k: trained)
    monkeypatch.setattr(run, "form_of", lambda *a, **k: FakeForm())
    monkeypatch.setattr(run, "order", lambda *a: [(0, True)])
    monkeypatch.setattr(parity, "groups", lambda *a: [({}, True, ["a"])])
    monkeypatch.setattr(run, "_manifest", lambda *a: facts())
    monkeypatch.setattr(parity, "measured", lambda *a: facts().parity)
    monkeypatch.setattr(engines, "traced", lambda *a: program)


def test_an_export_is_written_with_its_manifest_alone(faked: None, tmp_path: Path) -> None:
    run.export_run(Path("run"), "pt2", tmp_path / "new" / "x.pt2")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["x.pt2", "x.pt2.json"]


def test_a_wrong_export_leaves_nothing_behind(faked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = facts().parity.model_copy(
        update={"outputs": [OutputParity(name="y", max_abs=0.2, scale=1, max_rel=0.2, tolerance=1e-4)]}
    )
    monkeypatch.setattr(parity, "measured", lambda *a: wrong)
    with pytest.raises(
        DisagreementError, match=r"result y is off by 0\.2 of 1, 2\.0e-01 where 0\.0001 is allowed"
    ) as e:
        run.export_run(Path("run"), "pt2", tmp_path / "new" / "x.pt2")
    assert e.value.exit_code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError(
    "PytorchStreamWriter failed writing file data/0: file write failed")])  # fmt: skip
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    faked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def write(program: Any, form: Any, path: Path, *names: Any) -> None:
        path.write_bytes(b"part")
        raise error

    monkeypatch.setattr(engines, "write", write)
    with pytest.raises(PortbevError, match=r"cannot write: .*disk has room"):
        run.export_run(Path("run"), "pt2", tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())


def test_a_compiled_package_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ExportError, match=r"needs a C\+\+ compiler, and there is none .*apt-get install g\+\+"):
        engines.check_needs("aoti")


def test_onnx_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.import_module", gone)
    with pytest.raises(ExportError, match=r"ONNX needs onnx: .* pip install 'portbev\[onnx\]'"):
        engines.check_needs("onnx")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--to", "pt2"], "portbev: nowhere: no such run directory"),
        (["nowhere", "--to", "tflite"], "portbev: --to: there is no format 'tflite'. One of pt2, onnx, aoti"),
        (["nowhere", "--to", "pt2", "--layout", "triton"], "portbev: --layout triton: the server loads no pt2 file"),
        (["nowhere", "--to", "onnx", "--layout", "seldon"], "portbev: --layout: there is no layout 'seldon'"),
        (["nowhere", "--to", "onnx", "--layout", "triton"], "portbev: --out: a model repository needs a folder"),
    ],
)
def test_a_wrong_command_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(said) and printed.err.count("\n") == 1 and not printed.out


def test_a_repository_says_names_types_and_sizes() -> None:
    text = triton.configuration("mine", facts(format="onnx"))
    assert 'name: "mine"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n' in text
    assert '{ name: "x", data_type: TYPE_FP32, dims: [ 2, -1 ] }' in text
    assert '{ name: "INPUT__0",' in triton.configuration("mine", facts(format="aoti"))


FIELDS = (Field("image", "uint8", (2, None, 3), "a picture"), Field("K", "float64", (3, 3), "a matrix", optional=True))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "request 0: image: is missing. Give uint8 (2, any, 3): a picture"),
        ({"image": np.zeros((2, 5, 3), np.uint8), "L": 1}, "request 0: L: unknown field."),
        ({"image": np.zeros((2, 5, 3))}, "request 0: image: is float64."),
        ({"image": np.zeros((3, 5, 3), np.uint8)}, "request 0: image: has the shape (3, 5, 3)."),
        ({"image": np.zeros((2, 0, 3), np.uint8)}, "request 0: image: is empty."),
        ({"image": np.zeros((2, 5, 3), np.uint8), "K": np.full((3, 3), np.nan)}, "request 0: K: holds a value that is"),
        ({"image": np.zeros((2, 5, 3), np.uint8), "K": "K"}, "request 0: K: is <U1."),
    ],
)
def test_a_request_that_does_not_fit_is_named(request_: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        checked([request_], FIELDS)
    assert str(caught.value).startswith(said)


def test_whole_numbers_are_taken_as_floats() -> None:
    found = checked([{"image": np.zeros((2, 5, 3), np.uint8), "K": np.eye(3, dtype=np.int32)}], FIELDS)
    assert found[0]["K"].dtype == np.float64
