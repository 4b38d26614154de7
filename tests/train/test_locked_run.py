"""Two processes and one run directory."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from portbev.runs import load_run


def test_the_second_is_refused_and_a_killed_ones_run_is_taken_over(
    command: Callable[..., Any],
    toy_environment: dict[str, str],
    toy_file: Callable[..., Path],
    tiny_root: Path,
    tmp_path: Path,
) -> None:
    config, out = toy_file(model__sleep=0.2, train__checkpoint={"every_steps": 1}), tmp_path / "run"
    arguments = ["train", config, "--backend", "cpu", "--data-root", tiny_root, "--resume", "--out", out]
    words = [sys.executable, "-m", "portbev", *map(str, arguments)]
    first = subprocess.Popen(words, env=toy_environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.time() + 120
        while not list((out / "checkpoints").glob("step_*")) and first.poll() is None and time.time() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)  # alive, however long the second takes
        second = command(*arguments)
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    lines = second.stderr.strip().splitlines()
    assert second.returncode == 2 and len(lines) == 1, second.stderr
    assert f"process {first.pid} on" in lines[0] and "is writing into this directory" in lines[0]

    resumed = command(*arguments)
    assert resumed.returncode == 0, resumed.stderr
    said = f"process {first.pid} on"
    assert said in resumed.stdout and "taken over" in resumed.stdout
    run = load_run(out)
    assert run.status == "finished" and any(said in note for note in run.record.notes)
    assert not (out / "run.lock").exists()
