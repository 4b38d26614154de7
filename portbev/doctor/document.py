"""The tables as a page: ``python -m portbev.doctor.document docs/doctor.md`` renews the part between its marks."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from portbev.doctor.checkups import checkups
from portbev.doctor.findings import Checkup

BEGIN, END = "<!-- doctor: begin -->\n", "<!-- doctor: end -->\n"


def tables(found: Iterable[Checkup]) -> str:
    """Every row in Markdown, a table per checkup."""
    parts = []
    for checkup in found:
        lines = [
            f"\n### {checkup.name[0].upper()}{checkup.name[1:]}\n",
            "| | what | message | cure |",
            "|---|---|---|---|",
        ]
        for row in checkup.rows:
            found_as = row.severity.value if row.severity else "by its message"
            says = " ".join(f"`` {says} ``" for says in row.says)
            cure = "<br>".join(row.cure.splitlines())
            lines.append(f"| {found_as} | {_cell(row.what)} (`{row.id}`) | {_cell(says)} | {_cell(cure)} |")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def renewed(page: str) -> str:
    """The page with today's tables."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}{tables(checkups())}{END}{rest.partition(END)[2]}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<(", "&lt;(")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(renewed(place.read_text(encoding="utf-8")), encoding="utf-8")
