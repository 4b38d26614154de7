"""The example of docs/data.md, from pictures and boxes to a trained model, run as printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[1] / "docs" / "data.md"
FILES = {"recording": "warehouse.py", "tables": "to_tables.py", "config": "warehouse.yaml"}


def block(name: str) -> str:
    """The code block behind a mark."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"no block {name}"
    return found.group(1)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which the page's commands ran, and what each printed."""
    folder = tmp_path_factory.mktemp("warehouse")
    for name, file in FILES.items():
        (folder / file).write_text(block(name), encoding="utf-8")
    environment = {**os.environ, "PORTBEV_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    printed = {}
    for line in block("commands").splitlines():
        words = shlex.split(line)
        start = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "portbev"]
        command = [*start, *words[1:]]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        printed[line] = done.stdout
    return folder, printed


def test_tables_written_as_the_page_says_are_complete(said: tuple[Path, dict[str, str]]) -> None:
    assert "complete and consistent" in said[1]["portbev data check nuscenes mine --config warehouse.yaml"]


def test_boxes_of_own_categories_are_learnt_and_scored(said: tuple[Path, dict[str, str]]) -> None:
    folder, _ = said
    record = json.loads((folder / "runs/warehouse/run.json").read_text())
    learnt = record["data"]["train"]["boxes"]
    assert {name: count["kept"] for name, count in learnt.items() if count["read"]}.keys() == {"truck", "pedestrian"}
    learnt_by_heart = json.loads((folder / "runs/warehouse/eval_v1.0-mine_mine_train/metrics.json").read_text())
    there = {name: count for name, count in learnt_by_heart["boxes"]["ground_truth"].items() if count}
    assert there == {"truck": 60, "pedestrian": 60}
    assert learnt_by_heart["mean_dist_aps"]["truck"] > 0.3  # 0.65 measured: boxes and pictures belong together


def test_every_picture_of_the_example_is_drawn(said: tuple[Path, dict[str, str]]) -> None:
    assert len(list((said[0] / "runs/warehouse/pictures").glob("*.png"))) == 2
