"""README, docs/ and what stands in them: fenced blocks, links, headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
GENERATED = (DOCS / "examples" / "parity-seeds" / "report.md",)
"""Output of a command, kept as an example of it."""


def pages() -> list[Path]:
    """Every page that people read: a new one under docs/ is among them."""
    parts = (PROJECT / "README.md", PROJECT / "CHANGELOG.md", *DOCS.rglob("*.md"))
    return sorted(path for path in parts if path.exists() and path not in GENERATED)


class Fence(NamedTuple):
    """A fenced block: its page, the line it begins at, the comment before it, its language and its text."""

    page: Path
    line: int
    mark: str
    language: str
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(PROJECT)}:{self.line}"


_FENCE = re.compile(r"(?:<!-- ([\w-]+) -->\n)?^( *)```(\w*)\n(.*?)^\2```$", re.DOTALL | re.MULTILINE)


def fences(page: Path) -> list[Fence]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start(3)) + 1
        found.append(Fence(page, line, match[1] or "", match[3], match[4]))
    return found


def block(page: Path, mark: str) -> str:
    """The text of the one block behind ``<!-- mark -->``."""
    (found,) = (fence for fence in fences(page) if fence.mark == mark)
    return found.text


def without_fences(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What ``#...`` may name on a page, as GitHub and most renderers make it of a heading."""
    headings = re.findall(r"^#+ +(.+)$", without_fences(page), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}
