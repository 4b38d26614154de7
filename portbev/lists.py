"""Long lists for people: ten entries, and before them the families that all of them are of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

MOST = 10
"""Entries before "and n more"."""
_FAMILIES = 4
Entry = TypeVar("Entry")


class Shortened(str):
    """A text with a long list that was cut, which is kept in ``whole``."""

    whole: str

    def __new__(cls, short: str, whole: str) -> Shortened:
        """``short`` as a text; :func:`whole` gives the rest back."""
        text = super().__new__(cls, short)
        text.whole = whole
        return text

    def __reduce__(self) -> tuple[type[Shortened], tuple[str, str]]:
        """What a copy in another process is made of."""
        return Shortened, (str(self), self.whole)


def whole(text: str) -> str:
    """A text with nothing cut out of it, where somebody kept that."""
    return text.whole if isinstance(text, Shortened) else text


def cut(entries: Sequence[str], most: int = MOST) -> str:
    """The first entries, and how many more there are."""
    more = len(entries) - most
    return ", ".join(entries[:most]) + (f" and {more} more" if more > 0 else "")


def named(entries: Sequence[str], most: int = MOST) -> str:
    """``a.b, a.c``, or ``300 in a, 12 in b: a.b.weight, a.c.weight ... and 302 more`` where the list is long.

    Args:
        entries: dotted names; what follows a blank is of no family.
    """
    return cut(entries, most) if len(entries) <= most else f"{families(entries)}: {cut(entries, most)}"


def families(entries: Iterable[str]) -> str:
    """How many names there are below each part of a model or a configuration, the largest first.

    The parts are the first that not all names share.
    """
    paths = [entry.split(" ", 1)[0].split(".")[:-1] for entry in entries]
    depth = 0
    while len({tuple(path[: depth + 1]) for path in paths}) == 1 and all(len(path) > depth for path in paths):
        depth += 1
    shared = ".".join(paths[0][:depth]) if paths else ""
    counts = Counter(".".join(path[: depth + 1]) or "(top)" for path in paths)
    if len(counts) == 1 or max(counts.values(), default=0) == 1:
        return f"all in {shared}" if shared else f"{len(paths)} in all"
    told = [f"{count} in {name}" for name, count in counts.most_common(_FAMILIES)]
    rest = len(counts) - _FAMILIES
    return ", ".join(told) + (f" and {rest} other parts" if rest > 0 else "")


def shorten(entries: Sequence[Entry], most: int | None = MOST) -> tuple[Sequence[Entry], int]:
    """The first entries, and how many are left out; None: all of them."""
    return (entries, 0) if most is None or len(entries) <= most else (entries[:most], len(entries) - most)


class Head:
    """Says the first lines of a list at once, and in the end how many others there were, by family.

    Args:
        say: prints a line.
        most: how many are said; None: all.
        more: how all of them can be seen.
    """

    def __init__(self, say: Callable[[str], None], most: int | None = MOST, more: str = "--all shows them") -> None:
        self._say, self._most, self._more = say, most, more
        self._said = 0
        self._left: Counter[str] = Counter()

    def add(self, line: str, family: str) -> None:
        """Say a line, or count it."""
        if self._most is None or self._said < self._most:
            self._say(line)
            self._said += 1
        else:
            self._left[family] += 1

    def end(self) -> None:
        """Say what was counted."""
        if self._left:
            told = cut([f"{count} of {family}" for family, count in self._left.most_common()], _FAMILIES)
            self._say(f"and {self._left.total()} more: {told} ({self._more})")
