"""A real process, killed by SIGKILL at random moments, and in the middle of writing a checkpoint."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev.runs import load_run

SETTINGS: dict[str, Any] = {"model__sleep": 0.02, "train__epochs": 8, "train__checkpoint": {"every_steps": 1}}


def weights(folder: Path) -> dict[str, bytes]:
    saved = load_run(folder).checkpoints
    last = saved.path(saved.steps()[-1])
    return {name: (last / name).read_bytes() for name in ("model.safetensors", "ema.safetensors", "state.pt")}


def step(folder: Path) -> int:
    path = folder / "scalars.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.slow
def test_five_kills_and_resumes_end_in_the_same_bits(
    toy_environment: dict[str, str], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "portbev", "train", str(toy_file(**SETTINGS)), "--backend", "cpu"]
    words += ["--data-root", str(tiny_root), "--resume", "--out"]
    done = subprocess.run([*words, str(tmp_path / "whole")], env=toy_environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    total = load_run(tmp_path / "whole").record.progress.total_steps
    cut = tmp_path / "cut"
    draw = random.Random(time.time_ns())
    killed_while_writing = 0
    for strike in range(5):
        process = subprocess.Popen([*words, str(cut)], env=toy_environment, stdout=subprocess.DEVNULL)
        # strikes 1 and 3 fall into the writing of a checkpoint, the others anywhere
        goal = min(total - 4, (strike + 1) * total // 6 + draw.randrange(3))
        while process.poll() is None and step(cut) < goal:
            time.sleep(0.002)
        deadline = time.time() + (10 if strike % 2 else draw.uniform(0, 0.08))
        while process.poll() is None and time.time() < deadline:
            if strike % 2 and any((cut / "checkpoints").glob(".step_*.part")):
                break
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run was over before it was killed"
        killed_while_writing += any((cut / "checkpoints").glob(".*.part"))
    assert killed_while_writing >= 1, "no kill fell into the writing of a checkpoint"
    done = subprocess.run([*words, str(cut)], env=toy_environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = load_run(cut)
    assert len(run.record.resumed) == 5
    assert weights(cut) == weights(tmp_path / "whole")
    assert (cut / "predictions.json").read_bytes() == (tmp_path / "whole" / "predictions.json").read_bytes()
