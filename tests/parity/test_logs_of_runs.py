"""``portbev logs`` of run directories: here, beside the runs made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from portbev.cli import main
from portbev.logs.reading import read_log


def test_a_run_has_its_steps_and_its_evaluations(make_run: Callable[..., Path]) -> None:
    run = make_run("cpu")
    log = read_log(run)
    assert (log.name, log.source) == ("cpu", "portbev")
    assert {"loss", "lr", "grad_norm", "time"} <= set(log.train.columns)
    assert read_log(run / "scalars.jsonl").train.equals(log.train)
    assert len(log.eval) == 0 or {"mAP", "NDS"} <= set(log.eval.columns)


def test_two_runs_of_one_name_are_told_apart(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run("a/seed0")
    make_run("b/seed0")
    assert main(["logs", "time", str(tmp_path / "a" / "seed0"), str(tmp_path / "b" / "seed0")]) == 0
    out = capsys.readouterr().out
    assert str(tmp_path / "a" / "seed0") in out
    assert str(tmp_path / "b" / "seed0") in out
