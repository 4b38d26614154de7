"""Every page is in the index with a line of its own, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from printed import DOCS, PROJECT, anchors, pages, without_fences

INDEX = DOCS / "index.md"
pytestmark = pytest.mark.skipif(not INDEX.exists(), reason="the pages are not part of this installation")


def links(page: Path) -> list[str]:
    """Targets of a page's links and pictures that are not on the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", without_fences(page))
    return [target for target in found if not re.match(r"https?:|mailto:", target)]


def test_every_page_is_in_the_index_with_a_line() -> None:
    rows = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \| (.+) \|$", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {(DOCS / target).resolve() for target, line in rows if len(line) > 15}
    missing = [str(page.relative_to(PROJECT)) for page in pages() if page != INDEX and page.resolve() not in listed]
    assert not missing, f"docs/index.md has no line on {', '.join(missing)}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists() and there.is_relative_to(PROJECT), f"{page.name}: no file for {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: no heading for {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    seen, ahead = set[Path](), [PROJECT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in seen:
            seen.add(page)
            ahead += [
                path for one in links(page) if (path := (page.parent / one.partition("#")[0]).resolve()) in pages()
            ]
    assert seen >= set(pages())
