"""The command as users run it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from handmade import NPU


def portbev(*arguments, cwd=None):
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-m", "portbev", *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd, env=environment,
    )  # fmt: skip


def assert_one_line(result, *parts):
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert result.stderr.startswith("portbev: ")
    for part in parts:
        assert part in result.stderr


def test_report_of_two_runs(make_run, tmp_path):
    result = portbev("parity", "report", make_run("cpu"), make_run("npu", meta=NPU), "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "npu (emulated) against cpu, losses: bit-identical over 60 steps" in result.stdout
    names = {"report.html", "report.md", "report.json", "report.csv", "classes.csv", "comparisons.csv", "losses.png"}
    names.add("checksums.json")
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert str(tmp_path / "out" / "report.html") in result.stdout


def test_a_report_is_written_without_pytorch(make_run, tmp_path):
    arguments = ["parity", "report", str(make_run("cpu")), "--out", str(tmp_path / "out")]
    program = f"import sys; from portbev.cli import main; print(main({arguments!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


def test_default_output_is_in_the_first_run(make_run):
    run = make_run("cpu")
    assert portbev("parity", "report", run).returncode == 0
    assert (run / "report" / "report.html").is_file()


def test_not_a_run_directory(tmp_path):
    assert_one_line(portbev("parity", "report", tmp_path), str(tmp_path), "not a run directory")
    assert_one_line(portbev("parity", "report", tmp_path / "x"), "no such run directory")


def test_truncated_run_json(make_run):
    run = make_run("cpu")
    (run / "run.json").write_text((run / "run.json").read_text()[:100])
    assert_one_line(portbev("parity", "report", run), "run.json", "cannot be read")


def test_unknown_published_table(make_run):
    result = portbev("parity", "report", make_run("cpu"), "--published", "matrixvt_ascend")
    assert_one_line(result, "matrixvt_ascend_modelzoo")


def test_unknown_baseline(make_run):
    assert_one_line(portbev("parity", "report", make_run("cpu"), "--baseline", "gpu"), "--baseline", "cpu")


@pytest.mark.skipif(os.name == "nt", reason="needs /dev/full or a file in the way")
def test_output_that_cannot_be_written(make_run, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert_one_line(portbev("parity", "report", make_run("cpu"), "--out", blocked / "out"), "cannot write")
