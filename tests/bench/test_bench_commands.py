"""`portbev bench` as users run it."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from portbev import cli
from portbev.bench import ops, step
from portbev.bench.document import Document
from portbev.bench.ops import Plan, run_ops
from portbev.bench.tables import ops_table, step_table
from portbev.bench.timing import Timer
from portbev.errors import PortbevError
from portbev.runtime import find_backend

TINY = "bevdepth/tiny_test"


def portbev(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "portbev", "bench", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_operators_are_timed_beside_peers_and_written_as_json_and_table(tmp_path: Path) -> None:
    out = tmp_path / "bench"
    done = portbev("ops", TINY, "--backend", "cpu", "--quick", "--only", "voxel_pool_lift", "--out", out)
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "ops.json").read_text())
    assert (content["schema"], content["status"], content["backend"]) == ("portbev.bench.ops/1", "finished", "cpu")
    assert content["limits"]["copy_bytes_per_s"] > 1e8
    assert content["limits"]["matrix_flops_per_s"]["float32"] > 1e8
    assert content["environment"]["torch"]
    (row,) = content["rows"]
    assert (row["operator"], row["models"], row["dtype"]) == ("voxel_pool_lift", {TINY: 1}, "float32")
    for direction in ("forward", "backward"):
        results = {result["name"]: result for result in row[direction]["results"]}
        assert set(results) == {"reference", "materialised, index_add_"}
        assert results["reference"]["ratio"] == 1.0
        assert all(result["seconds"] > 0 and result["of_limit"] > 0 for result in results.values())
    assert row["forward"]["results"][1]["difference"] < 1e-4
    assert (out / "ops.md").read_text() in done.stdout
    assert f"written: {out / 'ops.json'}" in done.stdout


def test_a_training_and_an_inference_step_are_timed_without_data_on_disk(tmp_path: Path) -> None:
    done = portbev("step", TINY, "--backend", "cpu", "--quick", "--out", tmp_path, "--set", "train.batch_size=2")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "step.json").read_text())
    assert [(row["part"], row["samples"]) for row in content["rows"]] == [("train", 2), ("eval", 1)]
    for row in content["rows"]:
        assert row["seconds"] > 0 and row["samples_per_s"] == pytest.approx(row["samples"] / row["seconds"])
        assert row["peak_memory"] > 1e6 and len(row["times"]) >= 3
    assert "bevdepth/tiny_test" in (tmp_path / "step.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ops", "--only", "voxel_pol"], "--only: there is no 'voxel_pol'. Did you mean 'voxel_pool'?"),
        (["ops", "--dtype", "int8"], "--dtype: there is no 'int8'"),
        (["ops", "--backend", "nppu"], "--backend: unknown backend 'nppu'. Did you mean 'npu'?"),
        (["ops", "bevdepth/none", "--backend", "cpu"], "bevdepth/none"),
        (["ops", TINY, "--backend", "cpu", "--only", "fft"], "--only: no call of fft in a step of bevdepth/tiny_test"),
        (["ops", "--precision", "high"], "--precision: there is no precision 'high'. One of highest, fast"),
        (["ops", "--clock", "sun"], "--clock: there is no 'sun'"),
        (["step", "--part", "test"], "--part: there is no part 'test'. train or eval"),
        (["step", TINY, "--backend", "cpu", "--set", "train.batchsize=1"], "unknown key"),
        (["roofline", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_input_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = cli.main(["bench", *words, *([] if words[0] == "roofline" else ["--out", str(tmp_path)])])
    error = capsys.readouterr().err
    assert status == 2
    assert said in error and len(error.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["bench", "ops", TINY, "--backend", "cpu", "--out", str(tmp_path / "file" / "in")]) == 2
    assert "cannot write" in capsys.readouterr().err


def row(**result: Any) -> dict[str, Any]:
    measured = {"seconds": 1.0, "ratio": 1.0, "of_limit": 0.5, "memory": None, **result}
    return {
        "operator": "dropout", "shapes": {"input": "float32[4, 4]"}, "dtype": "float32", "absent": {"mmcv": "not here"},
        "forward": {"bytes": 1, "flops": 1, "results": [{"name": "us", "ours": True, "note": "", **measured}]},
    }  # fmt: skip


@pytest.fixture
def _no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cases whose limits need no measuring."""
    monkeypatch.setattr(Plan, "cases", lambda self: ["one", "two"])
    monkeypatch.setattr(ops, "_worth", lambda case, dtype: True)
    monkeypatch.setattr("portbev.bench.limits.measure", lambda *_: ops.Limits(1e9, {"float32": 1e9}))


@pytest.mark.usefixtures("_no_measuring")
def test_an_interruption_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(case: str, *_: Any, **__: Any) -> dict[str, Any]:
        if case == "two":
            raise KeyboardInterrupt
        return row()

    monkeypatch.setattr(ops, "measure", measure)
    document = run_ops(find_backend("cpu"), Plan(), tmp_path, lambda text: None, lambda done, total: None)
    content = json.loads((tmp_path / "ops.json").read_text())
    assert (len(content["rows"]), content["status"]) == (1, "interrupted")
    assert document.content["status"] == "interrupted" and "interrupted" in (tmp_path / "ops.md").read_text()


def test_a_provider_of_ours_that_fails_ends_with_status_1_and_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(backend: Any, plan: Any, folder: Path, say: Any, tick: Any) -> Document:
        head = {"environment": {}, "device": "d", "backend": "cpu", "emulated": False, "method": "by hand"}
        head["limits"] = {"copy_bytes_per_s": 1e9, "matrix_flops_per_s": {}}
        document = Document("ops", head, ops_table, folder)
        document.add(row(failed="RuntimeError: no"))
        document.end("finished")
        return document

    monkeypatch.setattr(ops, "run_ops", run)
    assert cli.main(["bench", "ops", "--backend", "cpu", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "failed: dropout by us, forward: RuntimeError: no" in told
    assert "dropout by mmcv: not here" in told


def test_a_configuration_that_does_not_fit_is_a_row_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(backend: Any, config: Any, part: str, *, quick: bool) -> dict[str, Any]:
        if part == "train":
            raise RuntimeError("out of memory:\n tried to allocate 8 GiB")
        return {"seconds": 0.5, "samples_per_s": 2.0, "peak_memory": 2**30}

    monkeypatch.setattr(step, "measure", measure)
    backend = find_backend("cpu")
    document = step.run_steps(backend, [TINY], [], ["train", "eval"], tmp_path, lambda text: None, quick=True)
    assert [row.get("failed") for row in document.content["rows"]] == ["out of memory: tried to allocate 8 GiB", None]
    assert "failed: out of memory" in step_table(document.content)


def test_the_table_names_who_is_first_and_marks_peers_failures_and_results_that_differ() -> None:
    results = [
        {
            "name": "us",
            "ours": True,
            "note": "bits vary",
            "seconds": 2e-3,
            "ratio": 1.0,
            "of_limit": 0.25,
            "memory": 3e6,
        },
        {"name": "plain", "ours": True, "note": "", "ratio": 3.5, "difference": 0.5},
        {"name": "theirs", "ours": False, "note": "", "failed": "RuntimeError: no"},
    ]
    line = {**row(), "forward": {"bytes": 5e6, "flops": 2e9, "results": results}, "absent": {"mmcv": "not here"}}
    head = {"environment": {"torch": "2"}, "device": "d", "backend": "cuda", "emulated": False, "method": "by hand"}
    limits = {"copy_bytes_per_s": 1e9, "matrix_flops_per_s": {"float32": 1e12}}
    told = ops_table({**head, "limits": limits, "status": "finished", "rows": [line]})
    cells = (
        "dropout | 4x4 | float32 | forward | 5 | 2 | us | 2 | 0.25 | plain (differs by 0.5) 3.5, *theirs* failed | 3 |"
    )
    assert cells in told
    for remark in ("by us: bits vary", "by theirs, forward: failed: RuntimeError: no", "by mmcv: not here"):
        assert f"* dropout {remark}\n" in told


def test_samples_are_taken_by_turns_and_long_calls_once() -> None:
    order: list[str] = []
    timer = Timer(find_backend("cpu"))
    contenders = [ops.Timed(lambda: order.append("a")), ops.Timed(lambda: order.append("b"))]
    for one in contenders:
        one.ready = lambda: order.append("|")
    timer.by_turns(contenders, ops.QUICK)
    turns = "".join(order).split("|")[3:]
    assert {turn[:1] for turn in turns[::2]} == {"a"} and {turn[:1] for turn in turns[1::2]} == {"b"}
    assert len({len(one.samples) for one in contenders}) == 1


def test_cpu_seconds_do_not_count_waiting_and_are_for_the_host_alone() -> None:
    cpu = find_backend("cpu")
    assert Timer(cpu, "cpu").seconds(lambda: time.sleep(0.05)) < 0.02
    assert Timer(cpu).seconds(lambda: time.sleep(0.05)) >= 0.05
    accelerator = copy.copy(cpu)
    accelerator.device_type = "other"
    with pytest.raises(PortbevError, match="--clock: the process's CPU time is not the time of this device"):
        Timer(accelerator, "cpu")
