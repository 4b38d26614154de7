"""No damage to what is read makes a command do more than refuse it in a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
TRIALS = 200


@pytest.mark.timeout(900)
def test_damaged_files_are_refused_without_traceback_hang_code_or_writing_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, str(FUZZ), "--count", str(TRIALS), "--seed", "11", "--keep", str(tmp_path / "base")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"{TRIALS} trials: 0 with a fault" in done.stdout
