"""Every kernel compiles for every architecture without spilling registers, and the committed table is what it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs" / "triton.md"


@pytest.mark.timeout(900)
def test_no_kernel_spills_and_the_table_of_registers_is_fresh(tmp_path: Path) -> None:
    import triton

    text = DOCS.read_text(encoding="utf-8")
    if f"Triton {triton.__version__}" not in text:
        pytest.skip(f"{DOCS.name} has the table of another Triton than {triton.__version__} (tox -e triton)")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-W", "ignore", "-m", "portbev_triton.compile"]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.strip() in text, f"write this into {DOCS.name}:\n{done.stdout}"
