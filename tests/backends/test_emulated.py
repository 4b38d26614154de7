"""Starts the suites of ``emulated/``: each in a process of its own, because an emulated device cannot be taken out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITES = sorted((Path(__file__).parent / "emulated").glob("suite_*.py"))


def test_there_are_suites() -> None:
    assert len(SUITES) >= 4


@pytest.mark.parametrize("suite", SUITES, ids=lambda path: path.stem)
def test_suite_passes_on_the_emulated_npu(suite: Path) -> None:
    command = [sys.executable, "-m", "pytest", str(suite), "-q", "-p", "no:cacheprovider", "--no-header", "-x"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert " passed" in done.stdout or "." in done.stdout
