"""docs/roofline.md is what its command prints, and has every operator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from portbev import cli
from portbev.ops.operator import OPERATORS

PAGE = Path(__file__).parents[2] / "docs" / "roofline.md"
TABLE = re.compile(r"(<!-- roofline: begin -->\n)(.*)(<!-- roofline: end -->)", re.DOTALL)


def test_the_page_s_table_is_what_its_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    command = re.search(r"^portbev (bench roofline .*)$", page, re.MULTILINE)
    table = TABLE.search(page)
    assert command is not None and table is not None
    assert cli.main(command.group(1).split()) == 0
    assert table.group(2) == capsys.readouterr().out


def test_the_page_has_every_operator() -> None:
    table = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert table is not None
    rows = [line.split("|")[1].strip() for line in table.group(2).splitlines()]
    assert set(rows[2:]) == set(OPERATORS)
