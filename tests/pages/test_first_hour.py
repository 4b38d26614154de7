"""docs/first-hour.md, followed by a fresh reader: the files and commands as they are printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from printed import DOCS, block
from printed_running import run_printed

PAGE = DOCS / "first-hour.md"
pytestmark = [
    pytest.mark.skipif(not PAGE.exists(), reason="the pages are not part of this installation"),
    pytest.mark.slow,
]


def install(folder: Path, site: Path) -> None:
    """``pip install --quiet --no-deps ./kernel``, into a folder of the test."""
    command = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), "./kernel")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fresh_reader_gets_two_runs_a_report_and_a_kernel_of_their_own(tmp_path: Path) -> None:
    folder, site = tmp_path / "reader", tmp_path / "site"
    (folder / "kernel").mkdir(parents=True)
    (folder / "mine.yaml").write_text(block(PAGE, "config"))
    run_printed(block(PAGE, "runs"), folder)
    report = json.loads((folder / "runs/report/report.json").read_text())
    assert "losses: bit-identical over 4 steps" in report["summary"][0]
    assert [run["emulated"] for run in report["runs"]] == [False, True]
    config = json.loads((folder / "runs/cpu/run.json").read_text())["config"]
    assert (config["name"], config["train"]["max_steps"], config["optimizer"]["lr"]) == ("mine", 4, 1e-3)

    (folder / "kernel/portbev_mine.py").write_text(block(PAGE, "plugin"))
    (folder / "kernel/pyproject.toml").write_text(block(PAGE, "pyproject"))
    assert block(PAGE, "kernel").splitlines()[0] == "pip install --quiet --no-deps ./kernel"
    install(folder, site)
    said = run_printed(block(PAGE, "kernel"), folder, site=site)
    assert "mine (forward), reference" in said["portbev backends --backend cpu"]
    assert "every error is rounding" in next(text for line, text in said.items() if "parity ops" in line)
    ledger = json.loads((folder / "runs/mine/run.json").read_text())["kernels"]["voxel_pool_lift"]
    assert ledger["forward"].keys() == {"mine"} and ledger["backward"].keys() == {"reference"}
    assert "mine" in (folder / "runs/report-mine/report.md").read_text()


def test_the_page_installs_as_the_readme_does() -> None:
    readme = (PAGE.parents[1] / "README.md").read_text()
    assert all(line in readme for line in block(PAGE, "install").splitlines()[:2])
