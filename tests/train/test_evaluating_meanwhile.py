"""Evaluations beside a training, and two of them in one folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev.config import RunConfig
from portbev.errors import CheckpointError, PortbevError
from portbev.evaluate import checkpoints
from portbev.evaluate.checkpoints import evaluate_run
from portbev.runs.lock import RunLock
from portbev.train import train

Toy = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def run(toy: Toy, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with checkpoints of two steps."""
    out = tmp_path_factory.mktemp("run")
    config = toy(train__max_steps=2, train__checkpoint={"every_steps": 1})
    train(config, backend="cpu", data_root=tiny_root, out=out)
    return out


def test_the_newest_checkpoint_is_taken_when_training_removes_the_one_that_was(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "run")
    original, seen = checkpoints.load_any, []

    def late(path: Path, *args: Any, **options: Any) -> Any:
        seen.append(path.name)
        if len(seen) == 1:
            path.rename(path.with_name("step_00000009"))  # a newer one came, the old one went
        return original(path, *args, **options)

    monkeypatch.setattr(checkpoints, "load_any", late)
    record = evaluate_run(tmp_path / "run", backend="cpu")
    assert seen == ["step_00000002", "step_00000009"] and record["step"] == 9


def test_a_step_that_is_gone_stays_an_error(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(run, tmp_path / "run")
    original = checkpoints.load_any

    def late(path: Path, *args: Any, **options: Any) -> Any:
        shutil.rmtree(path)
        return original(path, *args, **options)

    monkeypatch.setattr(checkpoints, "load_any", late)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        evaluate_run(tmp_path / "run", backend="cpu", checkpoint="2")


def test_a_folder_that_is_written_to_takes_no_second_evaluation_and_none_leaves_a_lock(
    run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "eval"
    out.mkdir()
    with RunLock(out), pytest.raises(PortbevError, match="is writing into this directory"):
        evaluate_run(run, backend="cpu", out=out)
    assert list(out.iterdir()) == []
    evaluate_run(run, backend="cpu", out=out)
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "predictions.json"]
