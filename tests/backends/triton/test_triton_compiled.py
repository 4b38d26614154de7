"""Every kernel compiles for every architecture without spilling registers, and the committed table is what it takes."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from portbev_triton.compile import ARCHITECTURES

DOCS = Path(__file__).parents[3] / "docs" / "triton.md"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("family", ["sm_", "gfx"])
def test_no_kernel_spills_and_the_table_of_registers_is_fresh(family: str, tmp_path: Path) -> None:
    import triton

    text = DOCS.read_text(encoding="utf-8")
    if f"Triton {triton.__version__}" not in text:
        pytest.skip(f"{DOCS.name} has the table of another Triton than {triton.__version__} (tox -e triton)")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    architectures = [name for name in ARCHITECTURES if name.startswith(family)]
    command = [sys.executable, "-W", "ignore", "-m", "portbev_triton.compile", *architectures]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    found, told = table(done.stdout), table(text)
    assert set(found) >= {"kernel", "variant", *architectures}
    assert all(told[column] == cells for column, cells in found.items()), f"{DOCS.name} is not fresh:\n{done.stdout}"


def table(text: str) -> dict[str, list[str]]:
    """The columns of the table of registers in ``text``, by their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads = (number for number, line in enumerate(lines) if line.startswith("| kernel | variant |"))
    first = next(number for number in heads if any(name in lines[number] for name in ARCHITECTURES))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[first:]]
    rows = list(itertools.takewhile(lambda row: len(row) == len(rows[0]), rows))
    return {head: list(cells) for head, *cells in zip(*rows, strict=True)}
