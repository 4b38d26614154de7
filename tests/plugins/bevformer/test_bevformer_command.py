"""BEVFormer through the command line: interrupted in a queue, on the emulated npu, on damaged data, in one report."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from portbev.config import load_config
from portbev.data.root import open_root
from portbev.runs import Run, load_run
from portbev_bevformer.checkpoint import export_state
from portbev_bevformer.family import BevFormerFamily

CONFIG = Path(__file__).parents[3] / "configs" / "bevformer" / "tiny_test.yaml"
ROOT = "synthetic:?scenes=2&samples_per_scene=3&sweeps=0&image_size=200x112&seed=0"

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def portbev() -> Command:
    """The real command in a process of its own."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "portbev", *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, timeout=240, check=False)

    return run


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the data that a test may damage."""
    target = tmp_path / "data"
    shutil.copytree(open_root(ROOT), target)
    return target


def weights(run: Run) -> bytes:
    saved = run.checkpoints
    return (saved.path(saved.steps()[-1]) / "model.safetensors").read_bytes()


def test_a_run_stopped_inside_an_epoch_resumes_to_the_same_bits(portbev: Command, tmp_path: Path) -> None:
    """Four of six steps, then the rest: the queues that come after are those of an uninterrupted run."""
    for name, how in {"whole": [], "parts": ["--set", "train.max_steps=4"]}.items():
        done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", ROOT, "--out", tmp_path / name, *how)
        assert done.returncode == 0, done.stderr
    parts = tmp_path / "parts"
    assert load_run(parts).record.progress.step == 4
    done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", ROOT, "--out", parts, "--resume")
    assert done.returncode == 0, done.stderr
    whole, resumed = load_run(tmp_path / "whole"), load_run(parts)
    assert [row.losses for row in whole.scalars()] == [row.losses for row in resumed.scalars()]
    assert weights(whole) == weights(resumed)
    assert whole.predictions.read_bytes() == resumed.predictions.read_bytes()


def test_an_official_checkpoint_is_evaluated_like_the_run_it_came_from(portbev: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = portbev(
        "train", CONFIG, "--backend", "cpu", "--data-root", ROOT, "--out", run, "--set", "train.max_steps=2"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    saved = load_run(run).checkpoints
    model = BevFormerFamily().build(load_config(CONFIG).model)
    model.load_state_dict(load_file(saved.path(saved.steps()[-1]) / "model.safetensors"))
    official = {f"module.{name}": weight for name, weight in export_state(model)["state_dict"].items()}
    file = tmp_path / "epoch_24.pth"
    torch.save({"meta": {"epoch": 24, "iter": 7, "CLASSES": ("car",)}, "state_dict": official, "optimizer": {}}, file)
    out = tmp_path / "scored"
    done = portbev(
        "eval", file, "--config", CONFIG, "--backend", "cpu", "--data-root", ROOT, "--out", out
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (out / "predictions.json").read_bytes() == load_run(run).predictions.read_bytes()


def test_losses_on_the_emulated_npu_equal_the_cpus_to_the_bit_over_20_steps(portbev: Command, tmp_path: Path) -> None:
    for name, how in {"cpu": ["--backend", "cpu"], "npu": ["--backend", "npu", "--emulate"]}.items():
        done = portbev(
            "train", CONFIG, *how, "--data-root", ROOT, "--out", tmp_path / name, "--set", "train.epochs=7",
            "--set", "train.max_steps=20",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    cpu, npu = load_run(tmp_path / "cpu"), load_run(tmp_path / "npu")
    assert npu.record.backend.emulated
    assert len(cpu.scalars()) == 20
    assert [row.losses for row in cpu.scalars()] == [row.losses for row in npu.scalars()]
    assert [row.grad_norm for row in cpu.scalars()] == [row.grad_norm for row in npu.scalars()]
    assert cpu.predictions.read_bytes() == npu.predictions.read_bytes()


def test_the_record_says_where_the_can_bus_came_from(portbev: Command, copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "can_bus")
    out = tmp_path / "run"
    done = portbev(
        "train", CONFIG, "--backend", "cpu", "--data-root", copy, "--out", out, "--set", "train.max_steps=1"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = " ".join(load_run(out).record.data.notes)
    assert "CAN bus" in notes and "poses" in notes
    assert "CAN bus" in done.stdout + done.stderr


def test_a_can_bus_that_is_asked_for_and_absent_is_one_line(portbev: Command, copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "can_bus")
    words = ["train", CONFIG, "--backend", "cpu", "--data-root", copy, "--out", tmp_path / "run"]
    done = portbev(*words, "--set", "data.can_bus=files")
    assert done.returncode == 2
    assert "can_bus" in done.stderr and "Traceback" not in done.stderr


def test_samples_in_an_impossible_order_are_one_line(portbev: Command, copy: Path, tmp_path: Path) -> None:
    """The second sample of a scene gets the time of the first."""
    table = copy / "v1.0-mini" / "sample.json"
    rows = json.loads(table.read_text())
    first = next(row for row in rows if not row["prev"])
    second = next(row for row in rows if row["token"] == first["next"])
    second["timestamp"] = first["timestamp"]
    table.write_text(json.dumps(rows))
    done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", copy, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert second["token"] in done.stderr or first["token"] in done.stderr
    assert "Traceback" not in done.stderr


def test_an_evaluation_of_many_samples_at_once_is_refused(portbev: Command, tmp_path: Path) -> None:
    words = ["train", CONFIG, "--backend", "cpu", "--data-root", ROOT, "--out", tmp_path / "run"]
    done = portbev(*words, "--set", "eval.batch_size=2")
    assert done.returncode == 2 and "eval.batch_size" in done.stderr and "Traceback" not in done.stderr
