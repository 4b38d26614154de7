"""Resuming with other settings: what may change, what may not, and which way works."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_resume import state

from portbev.config import Meaning, RunConfig, config_digest, load_config, meanings
from portbev.errors import DataError, PortbevError
from portbev.runs import load_run
from portbev.train import evaluation, train

Toy = Callable[..., RunConfig]
SHORT: dict[str, Any] = {"train__epochs": 1, "train__max_steps": 2}


@pytest.mark.parametrize("schedule", [{"name": "constant"}, {"name": "multistep", "milestones": [2], "gamma": 0.5}])
def test_a_longer_training_of_an_open_ended_schedule_has_the_bits_of_one_that_was_long_from_the_start(
    toy: Toy, tiny_root: Path, tmp_path: Path, schedule: dict[str, Any]
) -> None:
    straight = train(
        toy(train__epochs=3, schedule=schedule), backend="cpu", data_root=tiny_root, out=tmp_path / "straight"
    )
    short = train(toy(train__epochs=1, schedule=schedule), backend="cpu", data_root=tiny_root, out=tmp_path / "run")
    results = short.predictions.read_bytes()
    longer = train(
        toy(train__epochs=3, schedule=schedule), backend="cpu", data_root=tiny_root, out=tmp_path / "run", resume=True
    )
    assert state(longer) == state(straight)
    assert longer.record.progress.total_steps == 18 and longer.config.train.epochs == 3
    assert "resumed at step 6 with train.epochs 1 -> 3" in longer.record.notes
    assert "the results of step 6 are kept in eval_step_00000006" in longer.record.notes
    kept = tmp_path / "run" / "eval_step_00000006"
    assert (kept / "predictions.json").read_bytes() == results
    assert json.loads((kept / "metrics.json").read_text())["step"] == 6


@pytest.mark.parametrize("name", ["cosine", "onecycle"])
def test_other_schedules_say_what_forbids_it_and_the_way_that_works(
    toy: Toy, tiny_root: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    train(toy(schedule={"name": name}, **SHORT), backend="cpu", data_root=tiny_root, out=out)
    longer = toy(schedule={"name": name}, train__epochs=4)
    with pytest.raises(PortbevError) as caught:
        train(longer, backend="cpu", data_root=tiny_root, out=out, resume=True)
    text = str(caught.value)
    assert f"train.epochs 1 -> 4: the learning rates of schedule.name={name} depend on it" in text
    assert f"--init {out} --out NEW" in text
    anew = train(
        toy(schedule={"name": name}, **SHORT), backend="cpu", data_root=tiny_root, out=tmp_path / "new", init=out
    )
    assert any(note == f"started from the ema weights of {out}" for note in anew.record.notes)


def test_an_average_that_counts_epochs_is_told_when_they_change(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    ema = {"ramp": 10, "start_updates": None}
    train(toy(train__epochs=1, train__ema=ema), backend="cpu", data_root=tiny_root, out=tmp_path)
    run = train(toy(train__epochs=2, train__ema=ema), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)
    assert any("began as for train.epochs=1" in note and "2 epochs" in note for note in run.record.notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__epochs": 1}, r"the run is at step 12, beyond train\.epochs=1 \(step 6\)\. Raise train\.epochs"),
        (
            {"train__max_steps": 5},
            r"the run is at step 12, beyond train\.max_steps=5 \(step 5\)\. Raise train\.max_steps",
        ),
        (
            {"train__batch_size": 4},
            r"train\.batch_size 2 -> 4; they decide how each step.*train --resume --out .*--init",
        ),
        ({"train__accumulate": 2}, r"train\.accumulate 1 -> 2; they decide how"),
        ({"train__epochs": 3, "train__seed": 3}, r"these keys differ: train\.seed 0 -> 3; they decide how"),
        ({"optimizer__lr": 1.0}, r"these keys differ: optimizer\.lr 0\.01 -> 1\.0\. Go on with its own values"),
        (
            {"data__eval_split": "synth_train"},
            r"the run is finished; data\.eval_split synth_val -> synth_train would not",
        ),
        (
            {"eval__use_ema": False},
            r"the run is finished; eval\.use_ema true -> false .* portbev eval .*eval\.use_ema=False",
        ),
    ],
)
def test_a_finished_run_says_what_cannot_change(
    toy: Toy, tiny_root: Path, finished: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(PortbevError, match=message):
        train(toy(**changes), backend="cpu", data_root=tiny_root, out=out, resume=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def finished(toy: Toy, tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    train(toy(), backend="cpu", data_root=tiny_root, out=out)
    return out


def test_a_run_that_failed_at_its_last_evaluation_is_finished_on_another_split(
    toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:

        def failing(*args: Any, **options: Any) -> None:
            raise DataError("is damaged", where="picture.jpg")

        patch.setattr(evaluation, "evaluate_model", failing)
        with pytest.raises(DataError):
            train(toy(**SHORT), backend="cpu", data_root=tiny_root, out=tmp_path)
    failed = load_run(tmp_path)
    assert failed.status == "failed" and failed.checkpoints.steps() == [2] and failed.metrics is None
    other = toy(data__eval_split="synth_train", eval__use_ema=False, **SHORT)
    run = train(other, backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)
    assert run.status == "finished" and len(run.scalars()) == 2
    assert run.metrics is not None and (run.metrics.split, run.metrics.samples) == ("synth_train", 12)
    assert (run.metrics.weights, run.record.data.eval_split) == ("model", "synth_train")
    said = "resumed at step 2 with data.eval_split synth_val -> synth_train, eval.use_ema true -> false"
    assert said in run.record.notes


def test_evaluations_by_other_settings_are_not_compared_for_the_best(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    watched = {"train__eval_every": 1}
    train(toy(train__epochs=1, **watched), backend="cpu", data_root=tiny_root, out=tmp_path)
    best = json.loads((tmp_path / "checkpoints" / "best.json").read_text())
    (tmp_path / "checkpoints" / "best.json").write_text(json.dumps({**best, "value": 1e9}))
    changes = {"train__epochs": 2, "data__eval_split": "synth_train", **watched}
    run = train(toy(**changes), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)
    found = run.checkpoints.best()
    assert found is not None and found.step == 12 and found.value < 1


def test_without_a_checkpoint_a_corrected_configuration_starts_anew(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    with pytest.raises(PortbevError, match="not finite"):
        train(toy(model__nan_at_forward=0, **SHORT), backend="cpu", data_root=tiny_root, out=tmp_path)
    run = train(toy(**SHORT), backend="cpu", data_root=tiny_root, out=tmp_path, resume=True)
    assert run.status == "finished" and [row.step for row in run.scalars()] == [1, 2]


def test_the_same_data_elsewhere_continue_the_run_and_a_relative_root_is_kept_whole(
    toy: Toy, tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_root.parent)
    first = train(toy(**SHORT), backend="cpu", data_root=tiny_root.name, out=tmp_path / "run")
    assert first.record.data.source == first.record.data.root == str(tiny_root)
    monkeypatch.chdir("/")
    longer = toy(train__epochs=1, train__max_steps=3)
    resumed = train(longer, backend="cpu", out=tmp_path / "run", resume=True)  # its own root
    assert resumed.record.progress.step == 3
    os.symlink(tiny_root, tmp_path / "elsewhere")
    longer = toy(train__epochs=1, train__max_steps=4, data__root=str(tmp_path / "elsewhere"))
    resumed = train(longer, backend="cpu", out=tmp_path / "run", resume=True)
    assert resumed.record.data.source == str(tmp_path / "elsewhere")


def test_places_in_a_configuration_are_written_out_and_generated_data_keep_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for given, kept in (
        ("data/nuscenes", str(tmp_path / "data" / "nuscenes")),
        ("~/nuscenes", "/home/me/nuscenes"),
        ("/data", "/data"),
        ("synthetic:?seed=1", "synthetic:?seed=1"),
        ("synthetic:", "synthetic:"),
    ):
        assert load_config("bevdepth/tiny_test", [f"data.root='{given}'"]).data.root == kept
    assert load_config("echofusion/tiny_test", ["data.boxes=~/b.csv"]).data.boxes == "/home/me/b.csv"  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["bevdepth/laptop", "bevformer/tiny", "echofusion/tiny_test"])
def test_decoding_and_the_split_may_change_on_resume_and_stay_in_the_digest(name: str) -> None:
    config = load_config(name)
    scored = {key for key, meaning in meanings(config).items() if meaning is Meaning.SCORE}
    assert "data.eval_split" in scored and any(key.startswith("model.decode.") for key in scored)
    assert all(key == "data.eval_split" or key.startswith("model.decode.") for key in scored)
    assert config_digest(load_config(name, ["data.eval_split=another"])) != config_digest(config)
