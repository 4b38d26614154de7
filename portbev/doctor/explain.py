"""Known messages in a text, and the nearest ones where none is in it."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portbev.doctor.table import Row

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|[\u200b\ufeff]")
_QUOTES = "['\"`\u2018\u2019\u201c\u201d]"
_NEAR, _SIMILAR = 0.5, 0.8
_LONGEST, _TYPED = 400, 20  # lines that are looked at for a near message; a text of so few may have been typed


@dataclass(frozen=True)
class Known:
    """A row whose message is in the text: the number of the line (from 1) and the line."""

    row: Row
    number: int
    line: str


def explain(text: str, rows: Iterable[Row]) -> list[Known]:
    """The known messages in ``text``, in the order in which they first appear; a weak one only if there is no other.

    Case, quotation marks, colours and the breaks that a terminal puts into a line make no difference.
    """
    text = _ESCAPES.sub("", text)
    lower = text.lower()
    places = [(place, row) for row in rows if (place := _place(text, lower, row)) is not None]
    if any(not row.weak for _, row in places):
        places = [(place, row) for place, row in places if not row.weak]
    return [Known(row, text.count("\n", 0, place) + 1, _line(text, place)) for place, row in _ordered(places)]


def nearest(text: str, rows: Sequence[Row]) -> list[Row]:
    """Rows whose message shares most of its words with a line of ``text``, the nearest first; at most three.

    A word counts the more, the fewer rows have it; in a short text a misspelt one counts too.
    """
    messages = [(row, set(_words(says))) for row in rows if not row.weak for says in row.says]
    usual = Counter(word for _, words in messages for word in words)
    best: dict[str, float] = {}
    lines = [line for line in _ESCAPES.sub("", text).splitlines()[-_LONGEST:] if line.strip()]
    for line in lines:
        there = set(_words(line))
        alike = {word: _alike(word, there, fuzzy=len(lines) <= _TYPED) for word in usual}
        for row, words in messages:
            whole = sum(1 / usual[word] for word in words)
            shared = sum(alike[word] / usual[word] for word in words)
            if len(words) > 1 and shared / whole >= _NEAR and sum(map(bool, map(alike.get, words))) > 1:
                best[row.id] = max(best.get(row.id, 0.0), shared / whole)
    named = {row.id: row for row in rows}
    return [named[one] for one in sorted(best, key=lambda one: -best[one])[:3]]


def _place(text: str, lower: str, row: Row) -> int | None:
    """Where the row's message begins in ``text``; ``lower`` is the text in lower case."""
    found = [match.start() for pattern in _expressions(row, lower) if (match := pattern.search(text))]
    return min(found, default=None)


def _expressions(row: Row, lower: str) -> list[re.Pattern[str]]:
    """What to search for: a message only if its longest word is there at all, which is quickly seen in a long log."""
    if row.patterns:
        return [re.compile(pattern, re.MULTILINE) for pattern in row.patterns]
    there = (says for says in row.says if max(_words(says), key=len, default="") in lower)
    return [re.compile(_expression(says), re.IGNORECASE) for says in there]


def _expression(says: str) -> str:
    """The expression for a part of a message: any white space for a blank, any quotation mark for one."""
    parts = []
    for word in says.split():
        escaped = re.escape(word).replace(re.escape("..."), r"[^\n]{0,300}?")
        parts.append(re.sub(r"\\?['\"`]", _QUOTES, escaped))
    return r"\s+".join(parts)


def _ordered(places: list[tuple[int, Row]]) -> list[tuple[int, Row]]:
    return sorted(places, key=lambda pair: pair[0])


def _line(text: str, place: int) -> str:
    start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
    return " ".join(text[start : None if end < 0 else end].split())


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9_]{2,}", text.lower())


def _alike(word: str, there: set[str], *, fuzzy: bool) -> float:
    """1 for a word that is there, less for one that is nearly (``fuzzy``), 0 for none."""
    if word in there:
        return 1.0
    near = difflib.get_close_matches(word, there, n=1, cutoff=_SIMILAR) if fuzzy and len(word) > 3 else []
    return difflib.SequenceMatcher(None, word, near[0]).ratio() if near else 0.0
