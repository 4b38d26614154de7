"""A defect of the data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from portbev.errors import DataError


class Problem(NamedTuple):
    """A defect: the file (``where``), a description with the first of what it concerns, and what helps.

    ``needed``: whether training or scoring needs what is defective; they run whole without the rest.
    """

    where: str
    what: str
    cure: str = ""
    needed: bool = True

    def __str__(self) -> str:
        note = "" if self.needed else " (not needed for training)"
        return f"{self.where}: {self.what}{note}" + (f". {self.cure}" if self.cure else "")


def refuse(problems: Iterable[Problem]) -> None:
    """Raise the first problem that stops a run.

    Raises:
        DataError: there is one; says how many more there are.
    """
    stopping = [problem for problem in problems if problem.needed]
    if stopping:
        first, others = stopping[0], len(stopping) - 1
        more = f" (and {others} other problem{'s' if others > 1 else ''})" if others else ""
        raise DataError(first.what + more, where=first.where, cure=first.cure)
