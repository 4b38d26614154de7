"""The README's table of what has been shown, against the evidence that is committed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from printed import DOCS, PROJECT

README = PROJECT / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of this installation")
LEFT_OUT = ("tests/backends/cuda", "tests/install")
"""Tests that the README's environments run in part, or elsewhere than in this repository."""


class Row(NamedTuple):
    what: str
    on: str
    when: str
    evidence: tuple[Path, ...]


def rows() -> list[Row]:
    table = re.search(r"<!-- shown -->\n((?:\|.*\n)+)", README.read_text(encoding="utf-8"))
    assert table, "README.md has no table behind <!-- shown -->"
    lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table[1].splitlines()[2:]]
    return [Row(*cells[:3], tuple(PROJECT / one for one in re.findall(r"\(([^)]+)\)", cells[3]))) for cells in lines]


def numbers(text: str) -> list[str]:
    """Figures of a cell, without the points and commas that end a clause."""
    return re.findall(r"(?<![\w.])\d[\d.,]*(?:e-?\d+)?\d*(?<![.,])", text)


@pytest.mark.parametrize("row", rows() if README.exists() else [], ids=lambda row: row.what[:30])
def test_what_a_row_says_stands_in_its_evidence(row: Row) -> None:
    assert row.evidence and all(path.exists() for path in row.evidence)
    written = "\n".join(path.read_text(encoding="utf-8") for path in row.evidence if path.suffix in (".md", ".json"))
    for figure in (*numbers(row.what), *numbers(row.on)):
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", written), f"{figure} is not in the row's evidence"
    if re.fullmatch(r"\d{4}-\d\d-\d\d", row.when):
        dated = written + "".join(path.with_suffix(".json").read_text() for path in row.evidence if _report(path))
        assert row.when in dated, f"the evidence has no date {row.when}"
    elif row.when.startswith("every commit"):
        tests = [path.relative_to(PROJECT).as_posix() for path in row.evidence if PROJECT / "tests" in path.parents]
        assert tests, "a row of every commit names its tests"
        assert not [one for one in tests if one.startswith(LEFT_OUT)]
    else:
        assert row.when == "not yet", row.when


def _report(path: Path) -> bool:
    return path.name == "report.md" and path.with_suffix(".json").exists()


def test_the_environments_that_the_readme_runs_include_those_of_the_rows() -> None:
    said = re.search(r"tox run -e (\S+)", README.read_text(encoding="utf-8"))
    assert said and {"py-cpu", "py-npu", "triton", "vendor"} <= set(said[1].split(","))


def test_no_device_is_claimed_that_no_committed_report_has_and_none_is_kept_back() -> None:
    run_on = set[str]()
    for path in DOCS.rglob("report.json"):
        run_on |= {run["backend"] for run in json.loads(path.read_text())["runs"] if not run["emulated"]}
    text = " ".join(README.read_text(encoding="utf-8").split())
    not_yet = {row.what for row in rows() if row.when == "not yet"}
    for backends, row, words in (
        ({"cuda", "rocm"}, "Anything on a GPU", "not yet measured on a GPU"),
        ({"npu"}, "Anything on an Ascend NPU", "or on an NPU"),
    ):
        measured = bool(run_on & backends)
        assert measured != (row in not_yet), f"{row!r}: a committed report has runs of {run_on}"
        assert measured != (words in text)
