"""Runs that are computed in different ways stand in one group of the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from portbev.parity import build_report
from portbev.runs import load_run

CPU_ONLY = {
    "compute.weight_gradients": "avx2",
    "compute.keep_freed_memory": "true",
    "compute.memory_format": "channels_last",
}


def test_a_run_with_cpu_settings_is_compared_with_one_without(
    command: Callable[..., Any], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    config = toy_file(train__max_steps=3)
    sets = [word for key, value in CPU_ONLY.items() for word in ("--set", f"{key}={value}")]
    for name, how in {"plain": [], "tuned": sets}.items():
        out = tmp_path / name
        done = command("train", config, *how, "--backend", "cpu", "--data-root", tiny_root, "--out", out)
        assert done.returncode == 0, done.stderr
    report = build_report([tmp_path / "plain", tmp_path / "tuned"])
    assert [group.runs for group in report.groups] == [["plain", "tuned"]]
    listed = {row.key: row.values for row in report.groups[0].configuration.differing}
    assert {key: values["tuned"] for key, values in listed.items()} == CPU_ONLY
    assert any(remark.startswith("other settings than plain: ") for remark in report.run("tuned").remarks)
    assert report.run("tuned").differences["mean_ap"] is not None


def test_what_the_backend_cannot_do_is_said_and_recorded(
    command: Callable[..., Any], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    done = command(
        "train", toy_file(train__max_steps=1), "--set", "compute.keep_freed_memory=true",
        "--set", "compute.weight_gradients=avx2", "--backend", "npu", "--emulate",
        "--data-root", tiny_root, "--out", tmp_path / "run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = load_run(tmp_path / "run").record.notes
    for key in ("compute.keep_freed_memory", "compute.weight_gradients"):
        assert any(note.startswith(key) for note in notes)
        assert f"note: {key}" in done.stdout
