"""Runs on queues of frames: training, resuming inside an epoch, evaluation in order by the real commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev.config import RunConfig
from portbev.errors import ConfigError
from portbev.runs import load_run
from portbev.train import train

QUEUE: dict[str, Any] = {
    "kind": "nuscenes_queue",
    "version": "v1.0-mini",
    "train_split": "synth_train",
    "eval_split": "synth_train",  # three scenes, so that two processes carry different loads
    "workers": 0,
    "queue_length": 3,
    "scale": 0.4,
}
SETTINGS: dict[str, Any] = {
    "model__family": "toy_stream",
    "data": QUEUE,
    "train__epochs": 2,
    "train__checkpoint": {"every_steps": 4},
    "train__eval_every": 1,
}
Toy = Callable[..., RunConfig]


def content(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("inference", "checkpoint", "setup_notes"):  # times, and what a training keeps in its record
        metrics.pop(name, None)
    return {"metrics": metrics, "predictions": (folder / "predictions.json").read_bytes()}


def test_a_run_on_queues_resumes_to_the_same_bits(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    whole = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "whole")
    train(toy(**{**SETTINGS, "train__max_steps": 5}), backend="cpu", data_root=tiny_root, out=tmp_path / "cut")
    resumed = train(toy(**SETTINGS), backend="cpu", data_root=tiny_root, out=tmp_path / "cut", resume=True)
    assert [row.losses for row in resumed.scalars()] == [row.losses for row in whole.scalars()]
    assert content(resumed.path) == content(whole.path)
    assert [e.samples for e in whole.record.evaluations] == [12, 12]


def test_an_evaluation_in_training_leaves_out_whole_scenes(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    config = toy(**{**SETTINGS, "data": {**QUEUE, "eval_stride": 2}})
    run = train(config, backend="cpu", data_root=tiny_root, out=tmp_path / "run")
    assert [(e.stride, e.samples) for e in run.record.evaluations] == [(2, 8), (1, 12)]


def test_larger_evaluation_batches_are_refused_at_once(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    config = toy(**SETTINGS, eval__batch_size=2)
    with pytest.raises(ConfigError, match=r"eval\.batch_size: 2 samples a batch"):
        train(config, backend="cpu", data_root=tiny_root, out=tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_two_processes_evaluate_scenes_like_one_and_the_run_can_be_drawn(
    command: Any, toy_environment: dict[str, str], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "portbev"]
    config = toy_file(**{**SETTINGS, "train__epochs": 1, "train__batch_size": 1, "train__max_steps": 3})
    arguments = ["train", config, "--backend", "cpu", "--data-root", tiny_root, "--out", tmp_path / "run"]
    done = subprocess.run(
        [*words, *map(str, arguments)], env=toy_environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    run = load_run(tmp_path / "run")
    assert run.record.backend.world_size == 2
    done = command("eval", run.path, "--backend", "cpu", "--out", tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "alone") == content(run.path)
    done = command("viz", run.path, "--samples", 1)
    assert done.returncode == 0, done.stderr
    assert len(list((run.path / "pictures").glob("*.png"))) == 1
