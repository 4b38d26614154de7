"""``portbev parity ops`` as people call it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))

from faults.catalogue import FAULTS
from faults.fault import planted

from portbev.cli import main
from portbev.opscheck import running
from portbev.opscheck.document import SCHEMA, read
from portbev.parity.evidence import read_evidence
from portbev.parity.seal import content_hash
from portbev.runtime import activate

TINY = ("bevdepth/tiny_test", "bevformer/tiny_test", "echofusion/tiny_test")
POOLING = ("parity", "ops", "bevdepth/tiny_test", "--backend", "cpu", "--op", "voxel_pool_lift", "--dtype", "float32")


@pytest.fixture(autouse=True)
def _the_cpu_again() -> Iterator[None]:
    yield
    activate("cpu")


def test_right_operators_pass_in_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*POOLING, "--op", "Tensor.softmax", "--op", "linear", "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "every error is rounding" in said and "linear" in said
    assert max(map(len, said.splitlines()[:-1])) <= 80
    document = read(tmp_path / "out" / "ops.json")
    assert (document["schema"], document["status"], document["verdict"]) == (SCHEMA, "finished", "rounding")
    assert document["backend"] == {"name": "cpu", "label": "cpu", "emulated": False}
    assert document["content_hash"] == content_hash(document)
    assert {row["operator"] for row in document["rows"]} == {"voxel_pool_lift", "Tensor.softmax", "linear"}
    assert {row["by"] for row in document["rows"]} == {"reference", "torch"}
    results = document["rows"][0]["results"]
    assert {"result", "gradient of depth", "gradient of context"} <= results.keys()
    assert sum(results["result"]["ulps"]) > 0
    assert (tmp_path / "out" / "ops.txt").read_text() in said


def test_a_fault_ends_with_1_and_a_line_that_says_where_to_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with planted(FAULTS["pooling_off_by_one"]):
        status = main([*POOLING[:3], "--backend", "faulty", *POOLING[5:], "--json", str(tmp_path / "ops.json")])
    assert status == 1
    (line, *_) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAULT")]
    assert "voxel_pool_lift by planted, float32" in line
    assert "as if cells were +1 along x" in line
    document = read(tmp_path / "ops.json")
    assert document["verdict"] == "fault"
    evidence = read_evidence(tmp_path / "ops.json")
    assert (evidence.backend, evidence.emulated, evidence.verdict) == ("faulty", False, "fault")
    assert "voxel_pool_lift by planted" in evidence.says[0]


def test_an_interrupted_call_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, judged, calls = [*POOLING, "--json", str(tmp_path / "ops.json")], running.judged, []

    def once(oracle: Any, *rest: Any) -> dict[str, Any]:
        calls.append(oracle.subject.key)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return judged(oracle, *rest)

    monkeypatch.setattr(running, "judged", once)
    assert main(command) == 130
    before = read(tmp_path / "ops.json")
    assert before["status"] == "interrupted" and len(before["rows"]) == 1
    assert main(command) == 0
    assert len(calls) == len(set(calls)) + 1, "only the call that was interrupted is judged again"
    after = read(tmp_path / "ops.json")
    assert after["status"] == "finished" and after["rows"][0] == before["rows"][0]
    assert "goes on with" in capsys.readouterr().err


def test_an_edited_or_truncated_document_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ops.json"
    assert main([*POOLING, "--json", str(path)]) == 0
    whole = path.read_text()
    for text in (whole.replace('"rounding"', '"fault"'), whole[: len(whole) // 2], whole.replace(SCHEMA, "other/1")):
        path.write_text(text)
        capsys.readouterr()
        assert main([*POOLING, "--json", str(path)]) == 2
        said = capsys.readouterr().err.strip()
        assert said.count("\n") == 0 and "ops.json" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--op", "voxel_pol"), "voxel_pool"),
        (("--dtype", "float8"), "float16"),
        (("--op", "dropout", "--by", "tritn"), "reference"),
        (("--out", "a", "--json", "b"), "one of them"),
        (("--backend", "tpu"), "cpu"),
    ],
)
def test_a_wrong_name_is_one_line_with_the_cure(
    more: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["parity", "ops", "bevdepth/tiny_test", "--backend", "cpu", *more]) == 2
    err = capsys.readouterr().err.strip()
    assert said in err and err.count("\n") == 0


def test_the_emulated_npu_is_not_accused_and_says_that_it_is_emulated(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "portbev", "parity", "ops", *TINY, "--backend", "npu", "--emulate"]
    ran = subprocess.run(
        [*command, "--dtype", "float32", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-2000:]
    assert "npu (emulated)" in ran.stdout
    document = read(tmp_path / "ops.json")
    assert document["emulated"] and document["backend"]["label"] == "npu (emulated)"
    assert read_evidence(tmp_path).emulated
    by = {row["by"] for row in document["rows"] if row["verdict"] == "rounding"}
    assert {"mx_driving", "torch_npu", "emulated", "reference", "torch"} <= by
    names = {row["operator"] for row in document["rows"]}
    assert {"conv2d", "batch_norm", "layer_norm", "_foreach_addcdiv_", "binary_cross_entropy"} <= names


def test_the_document_of_every_row_is_json(tmp_path: Path) -> None:
    assert main([*POOLING, "--json", str(tmp_path / "ops.json")]) == 0
    assert json.loads((tmp_path / "ops.json").read_text())["rows"]
    assert torch.get_default_dtype() == torch.float32
