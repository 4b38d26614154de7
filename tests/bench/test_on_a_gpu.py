"""benchmarks/on_a_gpu.sh: tried on the CPU, and with a Python that fails or hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "on_a_gpu.sh"


def on_a_gpu(*words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = ["bash", str(SCRIPT), *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)


@pytest.mark.slow
def test_every_stage_passes_on_the_cpu(tmp_path: Path) -> None:
    out = tmp_path / "results"
    done = on_a_gpu(out, "--backend", "cpu", "--python", sys.executable, "--seconds", "240", "--quickest")
    logs = {path.name: path.read_text()[-2000:] for path in (out / "logs").iterdir()}
    assert done.returncode == 0, f"{done.stdout}\n{logs}"
    stages = [
        "prepare",
        "backends",
        "tests",
        "ops",
        "step",
        "bevdepth-cpu",
        "bevdepth-cpu-reference",
        "bevdepth-report",
    ]
    lines = (out / "summary.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == stages
    assert all(line.endswith("passed") for line in lines[1:-1])
    for name in ("bench-quick/ops.json", "bench-quick/step.json", "runs/bevdepth-cpu/run.json", "report-bevdepth"):
        assert (out / name).exists(), name


def test_a_stage_that_fails_or_hangs_does_not_stop_the_next_one_and_is_told(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *"bench ops"*) exit 3;; *"bench step"*) exec sleep 60;; esac\n')
    python.chmod(0o755)
    done = on_a_gpu(tmp_path / "out", "--backend", "cuda", "--python", python, "--seconds", "6")
    assert done.returncode == 1
    states = {line.split()[0]: line for line in (tmp_path / "out" / "summary.txt").read_text().splitlines()}
    assert states["tests"].endswith("passed")
    assert states["ops"].endswith("failed with status 3")
    assert "took longer than" in states["step"]
    assert states["bevdepth-cuda"].endswith("left out: no time is left")
    assert "stages did not pass" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no folder for the results"),
        (["out", "more"], "one folder for the results, not out and more"),
        (["out", "--backend", "tpu"], "--backend: tpu is not cuda, rocm or cpu"),
        (["out", "--bakend", "cpu"], "unknown option --bakend"),
        (["out", "--python"], "--python: a value is missing"),
        (["out", "--seconds", "long"], "--seconds: long is no whole number"),
    ],
)
def test_wrong_input_is_one_line(words: list[str], said: str) -> None:
    done = on_a_gpu(*words)
    assert done.returncode == 2
    assert said in done.stderr and len(done.stderr.strip().splitlines()) == 1


def test_a_dry_run_tells_the_commands_and_changes_nothing(tmp_path: Path) -> None:
    done = on_a_gpu(tmp_path / "out", "--backend", "rocm", "--dry-run")
    assert done.returncode == 0
    assert "tests/backends/triton" in done.stdout and "bench ops --backend rocm" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_plugins_that_the_script_lays_out_are_those_of_the_project(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    on_a_gpu(tmp_path / "out", "--backend", "cpu", "--python", python)
    laid = (tmp_path / "out" / "site" / "portbev-0.dist-info" / "entry_points.txt").read_text().splitlines()
    written = (
        (ROOT / "pyproject.toml").read_text().partition("[project.entry-points.portbev]\n")[2].partition("\n\n")[0]
    )
    assert laid == ["[portbev]", *written.replace('"', "").splitlines()]
