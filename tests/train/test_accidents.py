"""Accidents around the loop: processes that are killed, samples that cannot be read, signals to a whole group."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resume import SETTINGS, state

from portbev.cli import main
from portbev.config import RunConfig
from portbev.errors import BackendError, DataError
from portbev.progress import Reporter
from portbev.runs import load_run
from portbev.train import nonfinite, train
from portbev.train.step import OptimizerStep
from portbev_nuscenes.samples.sweeps import SweepDataset

Toy = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def whole(toy: Toy, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The state of the undisturbed run."""
    out = tmp_path_factory.mktemp("whole")
    return state(train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=out))


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any) -> None:
        raise AssertionError("nothing here is about NaN")

    monkeypatch.setattr(nonfinite, "first_nonfinite_module", search)


def test_a_killed_worker_is_one_line_with_the_cure_and_the_run_resumes_to_the_same_bits(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path, no_search: None
) -> None:
    original = OptimizerStep.forward

    def striking(self: OptimizerStep, *args: Any) -> Any:
        if self.step == 9:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)
                child.join()
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OptimizerStep, "forward", striking)
        with pytest.raises(DataError, match=r"a process that loads data was killed.*Lower data.workers") as caught:
            train(toy(data__workers=2, **SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path)
    assert "\n" not in str(caught.value)
    record = load_run(tmp_path).record
    assert record.status == "failed" and record.error == str(caught.value)
    assert state(train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)) == whole


def test_a_device_without_memory_is_one_line_and_no_search_for_nan(
    toy: Toy, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_search: None
) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(OptimizerStep, "forward", full)
    with pytest.raises(BackendError, match=r"the device has too little memory: out of memory. Lower train.batch_size"):
        train(toy(), backend="cpu", data_root=tiny_root, out=tmp_path)
    assert (load_run(tmp_path).record.error or "").startswith("the device has too little memory")


def test_a_mistake_in_a_model_is_not_taken_for_nan(
    toy: Toy, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_search: None
) -> None:
    import toy_plugin

    def mistaken(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(toy_plugin.ToyModel, "losses", mistaken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(toy(), backend="cpu", data_root=tiny_root, out=tmp_path)


def test_a_loss_that_refuses_nan_itself_is_explained(
    toy: Toy, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import toy_plugin

    def refusing(*_: Any, **__: Any) -> None:
        raise ValueError("matrix contains invalid numeric entries")

    monkeypatch.setattr(toy_plugin.ToyModel, "losses", refusing)
    with pytest.raises(nonfinite.NonFiniteError, match=r"the loss said: matrix contains.*first in module 'middle'"):
        train(toy(model__nan_at_forward=0), backend="cpu", data_root=tiny_root, out=tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_while_a_sample_is_read_names_the_sample_and_keeps_how_it_came_about(
    toy: Toy, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    original = SweepDataset.sample

    def failing(self: SweepDataset, index: int, epoch: int) -> Any:
        if self.tokens[index] == bad:
            raise IndexError("index 9 is out of bounds\nfor axis 0")
        bad_tokens.append(self.tokens[index])
        return original(self, index, epoch)

    from portbev.data import build_dataset

    config = toy(data__workers=workers, train__max_steps=6)
    bad = build_dataset(config.data, tiny_root, "train", seed=0).tokens[3]
    bad_tokens: list[str] = []
    monkeypatch.setattr(SweepDataset, "sample", failing)
    with pytest.raises(DataError) as caught:
        train(config, backend="cpu", data_root=tiny_root, out=tmp_path)
    text = str(caught.value)
    assert text.startswith(f"sample {bad}: cannot be read (IndexError: index 9 is out of bounds for axis 0). ")
    assert "in failing" in str(caught.value.__cause__)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_to_the_whole_group_ends_in_good_order_with_workers(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    original = OptimizerStep.forward

    def signalled(self: OptimizerStep, *args: Any) -> Any:
        if self.step == 7:
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, number)
            signal.raise_signal(number)
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OptimizerStep, "forward", signalled)
        run = train(toy(data__workers=1, **SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path)
    assert run.status == "interrupted" and run.record.progress.step == 8
    assert state(train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)) == whole


def test_a_second_ctrl_c_ends_at_once_and_the_run_resumes(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    original = OptimizerStep.forward

    def impatient(self: OptimizerStep, *args: Any) -> Any:
        if self.step == 9:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OptimizerStep, "forward", impatient)
        with pytest.raises(KeyboardInterrupt):
            train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path)
    assert load_run(tmp_path).status == "interrupted" and not (tmp_path / "run.lock").exists()
    assert state(train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)) == whole


def test_a_hangup_that_nohup_ignores_is_ignored(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    original = OptimizerStep.forward

    def hung_up(self: OptimizerStep, *args: Any) -> Any:
        signal.raise_signal(signal.SIGHUP)
        return original(self, *args)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OptimizerStep, "forward", hung_up)
            run = train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.status == "finished"


def test_a_signal_during_the_last_evaluation_is_made_up_for(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    import toy_plugin

    original = toy_plugin.ToyModel.decode

    def signalled(self: Any, *args: Any) -> Any:
        if len(list((tmp_path / "checkpoints").glob("step_00000018"))) == 1:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toy_plugin.ToyModel, "decode", signalled)
        run = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path)
    assert run.status == "interrupted" and run.metrics is None and run.record.progress.step == 18
    assert state(train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)) == whole


def test_training_goes_on_when_nobody_reads_its_lines_any_more(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    from rich.console import Console

    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    reporter = Reporter(console=Console(file=Gone()))  # type: ignore[arg-type]
    run = train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path, reporter=reporter)
    assert run.status == "finished" and reporter.quiet


@pytest.mark.parametrize("kind", ["file", "under_a_file"])
def test_an_output_that_is_a_file_is_one_line(
    tmp_path: Path, tiny_root: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (tmp_path / "run").write_text("mine")
    out = tmp_path / "run" if kind == "file" else tmp_path / "run" / "inner"
    words = ["--backend", "cpu", "--data-root", str(tiny_root), "--out", str(out), "--set", "data.workers=0"]
    assert main(["train", "bevdepth/tiny_test", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "cannot write" in lines[0] and str(tmp_path / "run") in lines[0]
    assert (tmp_path / "run").read_text() == "mine"
