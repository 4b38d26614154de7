"""Real commands on a tiny data set and a tiny trained run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev_nuscenes.synth import SynthOptions, generate

CONFIG = "bevdepth/tiny_test"
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def run_command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """``python -m portbev ...`` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **options.pop("env", {})}
    words = [sys.executable, "-m", "portbev", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False, **options)


@pytest.fixture(scope="session")
def portbev() -> Command:
    return run_command


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of the configuration ``bevdepth/tiny_test``."""
    options = SynthOptions(scenes=2, samples_per_scene=2, image_size=(200, 112), seed=0)
    return generate(tmp_path_factory.mktemp("data") / "tiny", options, progress=False)


@pytest.fixture(scope="session")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one step."""
    out = tmp_path_factory.mktemp("runs") / "run"
    done = run_command(
        "train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", out, "--set", "train.max_steps=1"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out
