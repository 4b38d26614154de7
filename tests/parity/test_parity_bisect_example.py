"""The example of docs/parity-bisect.md: a plugin as printed, the commands as printed, and the answer as printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "parity-bisect.md"


def block(name: str) -> str:
    """The code block behind a mark."""
    found = re.search(rf"<!-- {name} -->\n```\w*\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"no block {name}"
    return found.group(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the plugin where ``pip install`` would have put it."""
    site = tmp_path / "site"
    info = site / "portbev_port-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "portbev_port.py").write_text(block("plugin"), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: portbev-port\nVersion: 1.0\n", encoding="utf-8")
    (point,) = re.findall(r'\[project\.entry-points\.portbev\]\n(\w+) = "(\w+)"', block("pyproject"))
    (info / "entry_points.txt").write_text(f"[portbev]\n{point[0]} = {point[1]}\n", encoding="utf-8")
    return tmp_path


def portbev(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "portbev", *shlex.split(line)[1:]]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_the_printed_example_leads_from_a_planted_fault_to_its_kernel(folder: Path) -> None:
    for line in block("dumps").splitlines():
        done = portbev(folder, line)
        assert done.returncode == 0, done.stderr
    done = portbev(folder, block("bisect").strip())
    assert done.returncode == 1, done.stderr
    for line in block("answer").splitlines():
        shown = re.sub(r"\d\.\de-\d\d", r"\\S+", re.escape(line).replace(r"\-", "-").replace(r"\.", "."))
        assert re.search(shown, done.stdout), f"{line}\n{done.stdout}"
    verdict = json.loads((folder / "dumps" / "verdict.json").read_text())
    assert verdict["schema"] == "portbev.parity-bisect/1" and verdict["side"] == "b"
    errors = {(one["name"], one["side"]): one["ratio"] for one in verdict["providers"]}
    assert errors["ported", "device"] > 1e5 and errors["reference", "device"] < 4
    *dumps, last = block("mended").splitlines()
    for line in dumps:
        assert portbev(folder, line).returncode == 0
    done = portbev(folder, last)
    assert done.returncode == 0 and "no cause" in done.stdout, done.stdout + done.stderr
