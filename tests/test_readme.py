"""What the README prints is what works: its program runs, its configurations and published rows exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from portbev.config import load_config

README = Path(__file__).parents[1] / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of this installation")


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```bash\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"no block follows <!-- {mark} -->"
    return found[1]


def test_both_command_blocks_stand_right_after_their_comments() -> None:
    assert "portbev train bevdepth/laptop --backend cpu" in block("main-job")
    assert "tox" in block("tests")


def test_every_configuration_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(?:bevdepth|bevformer)/\w+", README.read_text()))
    assert {"bevdepth/laptop", "bevformer/tiny"} <= named
    for name in named:
        assert load_config(name).model.family == name.split("/")[0]


@pytest.mark.slow
def test_the_program_runs_and_both_devices_agree_to_the_bit(tmp_path: Path) -> None:
    program = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert program
    text = program[1].replace("max_steps=20", "max_steps=2").replace("scenes=6", "scenes=2&samples_per_scene=8")
    small = {**os.environ, "PORTBEV_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=tmp_path, env=small, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "bit-identical" in (tmp_path / "runs" / "report" / "report.md").read_text()
