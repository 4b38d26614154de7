"""A run that was stopped anywhere and resumed ends with the weights of one that was not."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from portbev.config import RunConfig
from portbev.errors import CheckpointError, PortbevError
from portbev.runs import Run, checkpoint, load_run
from portbev.train import train
from portbev.train.loop import Trainer
from portbev.train.step import OptimizerStep

Toy = Callable[..., RunConfig]
SETTINGS: dict[str, Any] = {"train__epochs": 3, "train__checkpoint": {"every_steps": 4}, "train__eval_every": 1}


class Killed(BaseException):
    """Stands for a kill inside the process: nothing in the framework catches it to carry on."""


def state(run: Run) -> dict[str, bytes]:
    """The last checkpoint's bytes, and the rows without times."""
    saved = run.checkpoints
    folder = saved.path(saved.steps()[-1])
    found = {name: (folder / name).read_bytes() for name in ("model.safetensors", "ema.safetensors", "state.pt")}
    rows = [replace(row, step_time=0.0, data_time=0.0).to_json() for row in run.scalars()]
    return {**found, "rows": "".join(rows).encode(), "predictions": run.predictions.read_bytes()}


@pytest.fixture
def whole(toy: Toy, tiny_root: Path, tmp_path: Path) -> dict[str, bytes]:
    """The uninterrupted run."""
    return state(train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "whole"))


def kill_at_step(monkeypatch: pytest.MonkeyPatch, step: int, where: str) -> None:
    original = getattr(Trainer, where)

    def dying(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if self.at.step == step:
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Trainer, where, dying)
    monkeypatch.setattr(Trainer, "_fail", lambda self, error: None)  # a kill leaves no time to write a record


@pytest.mark.parametrize(
    ("step", "where"),
    [(0, "_step"), (3, "_step"), (4, "_save"), (5, "_log"), (6, "_evaluate"), (12, "_step"), (18, "_evaluate")],
)
def test_resumed_run_ends_with_the_bits_of_an_uninterrupted_one(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path, step: int, where: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at_step(patch, step, where)
        with pytest.raises(Killed):
            train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut")
    run = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut", resume=True)
    assert run.status == "finished" and len(run.record.resumed) == 1
    assert [e.step for e in run.record.evaluations] == [6, 12, 18]
    assert state(run) == whole


@pytest.mark.parametrize("scale", ["dynamic", 512])
def test_a_resumed_fp16_run_keeps_its_loss_scale_and_its_bits(
    toy: Toy, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale: Any
) -> None:
    changes = {
        **SETTINGS,
        "train__epochs": 2,
        "compute__amp": "fp16",
        "compute__loss_scale": scale,
        "optimizer__lr_multipliers": {"stem": 0.1, "norm": 0.5},
        "schedule": {"name": "cosine", "by_epoch": True, "warmup_steps": 3, "warmup_start": 1 / 3},
    }
    expected = state(train(toy(**changes), backend="cpu", data_root=tiny_root, out=tmp_path / "whole"))
    with monkeypatch.context() as patched:
        kill_at_step(patched, 6, "_step")
        with pytest.raises(Killed):
            train(toy(**changes), backend="cpu", data_root=tiny_root, out=tmp_path / "run")
    resumed = train(toy(**changes), backend="cpu", data_root=tiny_root, out=tmp_path / "run", resume=True)
    assert state(resumed) == expected
    saved = checkpoint.load_checkpoint(resumed.checkpoints.path(12))
    assert saved.state["scaler"]["scale"] == (65536.0 if scale == "dynamic" else 512.0)
    assert [row.lr for row in resumed.scalars()[:4]] == pytest.approx([0.01 / 3, 0.01 * 5 / 9, 0.01 * 7 / 9, 0.01])


def test_kernel_calls_add_up_over_a_resume(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    plain = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        kill_at_step(patch, 9, "_step")
        with pytest.raises(Killed):
            train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut")
    run = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut", resume=True)
    assert run.record.kernels["dropout"].forward == plain.record.kernels["dropout"].forward


def test_a_kill_while_a_checkpoint_is_written_leaves_it_out_and_is_told(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    def dying(path: Path) -> str:
        if "step_00000008" in str(path) and path.name == "state.pt":
            raise Killed
        return digest(path)

    digest = checkpoint.file_digest
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "file_digest", dying)
        patch.setattr(Trainer, "_fail", lambda self, error: None)
        with pytest.raises(Killed):
            train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut")
    leftovers = list((tmp_path / "cut" / "checkpoints").glob(".step_00000008*"))
    assert len(leftovers) == 1
    run = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut", resume=True)
    assert not leftovers[0].exists()
    assert any("left behind: .step_00000008" in warning for warning in run.record.warnings)
    assert run.record.resumed[0].step == 6
    assert state(run) == whole


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", cut_off),
        ("model.safetensors", flip),
        ("ema.safetensors", Path.unlink),
        ("state.pt", cut_off),
        ("state.pt", flip),
        ("meta.json", cut_off),
        ("meta.json", Path.unlink),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at_step(patch, 10, "_step")
        with pytest.raises(Killed):
            train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut")
    damage(tmp_path / "cut" / "checkpoints" / "step_00000008" / name)
    run = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut", resume=True)
    assert run.record.resumed[0].step == 6
    assert any("damaged checkpoint" in warning and "step_00000008" in warning for warning in run.record.warnings)
    assert state(run) == whole


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda meta: meta.pop("peak_memory"), "peak_memory: Field required"),
        (lambda meta: meta.update(seconds=[]), "seconds: Input should be a valid number"),
        (lambda meta: meta.update(kernels={"dropout": 7}), "kernels.dropout: "),
        (lambda meta: meta["files"].update({"state.pt": None}), "files.state.pt: "),
        (lambda meta: meta.update(step="eight"), "step: Input should be a valid integer"),
    ],
)
def test_a_checkpoint_whose_description_was_changed_is_refused_with_the_field(
    toy: Toy, tiny_root: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], Any], said: str
) -> None:
    train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path)
    path = tmp_path / "checkpoints" / "step_00000002" / "meta.json"
    meta = json.loads(path.read_text())
    edit(meta)
    path.write_text(json.dumps(meta))
    with pytest.raises(CheckpointError) as refused:
        train(toy(train__max_steps=4), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)
    assert refused.value.what.startswith(f"is damaged: {said}")
    assert refused.value.where == str(path)


def test_when_no_checkpoint_is_whole_nothing_is_lost(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path)
    cut_off(tmp_path / "checkpoints" / "step_00000002" / "model.safetensors")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(CheckpointError, match="truncated or altered"):
        train(toy(train__max_steps=4), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_resuming_an_empty_folder_is_a_fresh_start(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    run = train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path / "new", resume=True)
    assert run.status == "finished" and run.record.resumed == []


def test_resuming_a_finished_run_changes_nothing(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert (
        train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True).status
        == "finished"
    )
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_more_steps_continue_a_finished_run(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    straight = train(toy(train__max_steps=5), backend="cpu", data_root=tiny_root, out=tmp_path / "straight")
    train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path / "two")
    run = train(toy(train__max_steps=5), backend="cpu", data_root=tiny_root, out=tmp_path / "two", resume=True)
    assert state(run) == state(straight)


def test_a_changed_configuration_is_refused_with_its_keys_and_harmless_ones_pass(
    toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path)
    changed = toy(train__max_steps=4, optimizer__lr=0.5, model__channels=8)
    with pytest.raises(PortbevError, match=r"these keys differ: model\.channels 4 -> 8, optimizer\.lr 0\.01 -> 0\.5\."):
        train(changed, backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)
    harmless = toy(train__max_steps=3, train__log_every=7, data__workers=1, train__eval_every=1)
    assert train(harmless, backend="cpu", data_root=tiny_root, out=tmp_path, resume=True).record.progress.step == 3


def test_changed_data_are_refused(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(tiny_root, other)
    table = other / "v1.0-mini" / "sample_annotation.json"
    rows = json.loads(table.read_text())
    rows = [{**row, "size": [2 * side for side in row["size"]]} for row in rows]
    table.write_text(json.dumps(rows))
    with pytest.raises(
        PortbevError, match=r"training data changed: digest [0-9a-f]{16} of .*tiny, now [0-9a-f]{16} of .*other"
    ):
        train(toy(train__max_steps=4), backend="cpu", data_root=other, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_step_writes_a_checkpoint_and_resumes_to_the_same_bits(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path, number: signal.Signals
) -> None:
    original = OptimizerStep.forward

    def signalled(self: OptimizerStep, *args: Any) -> Any:
        if self.step == 4:
            signal.raise_signal(number)
        return original(self, *args)

    before = signal.getsignal(number)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OptimizerStep, "forward", signalled)
        run = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut")
    assert signal.getsignal(number) is before
    assert run.status == "interrupted" and run.record.progress.step == 5
    assert run.checkpoints.steps()[-1] == 5
    run = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut", resume=True)
    assert state(run) == whole and load_run(tmp_path / "cut").status == "finished"


def test_the_last_line_that_a_kill_cut_off_is_written_again(
    whole: dict[str, bytes], toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        kill_at_step(patch, 10, "_step")
        with pytest.raises(Killed):
            train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut")
    cut_off(tmp_path / "cut" / "scalars.jsonl")
    assert state(train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut", resume=True)) == whole
