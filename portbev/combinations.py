"""Which versions go together, as rows of a table, and which row an environment is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

ABSENT = "-"
"""In a row: that package must not be there."""
UNKNOWN = "not known to go together"


@dataclass(frozen=True)
class Combination:
    """A row: versions that were published to go together, and how far that is tested.

    Attributes:
        versions: component -> versions as pip writes them (``>=2.8,<2.9``); ``""`` for any or none, :data:`ABSENT` for
            none.
        tested: in words, after the versions and a colon.
        alike: components that must have the release (the first two numbers) of the first of them.
        optional: components that may be missing.
        extra: of this distribution, which installs it; empty if there is none.
    """

    versions: Mapping[str, str]
    tested: str
    alike: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    extra: str = ""

    def misfits(self, installed: Mapping[str, str | None]) -> dict[str, str]:
        """What of ``installed`` is not as in the row: component -> what to do; empty if this is the row."""
        missing = {name for name in self.optional if installed.get(name) is None}
        asked = {name: wanted for name, wanted in self.versions.items() if name not in missing}
        leader = installed.get(self.alike[0]) if self.alike else None
        if leader is not None and not _misfit(self.alike[0], asked.get(self.alike[0], ""), leader):
            asked.update({name: f"=={release(leader)}.*" for name in self.alike[1:]})
        found = {name: _misfit(name, wanted, installed.get(name)) for name, wanted in asked.items()}
        return {name: misfit for name, misfit in found.items() if misfit}


@dataclass(frozen=True)
class Environment:
    """What is installed, and what the table says of it.

    Attributes:
        versions: component -> version; None: not installed.
        row: the row that it is; None: it is in no row.
        cure: what makes a row of it, where there is none.
    """

    versions: Mapping[str, str | None]
    row: Combination | None
    cure: str = ""

    @property
    def said(self) -> str:
        """The versions and how far they are tested, on one line."""
        names = ", ".join(f"{name} {version}" for name, version in self.versions.items() if version is not None)
        return f"{names}: {UNKNOWN if self.row is None else self.row.tested}"

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        known = self.row is not None
        cure = {} if known else {"cure": self.cure}
        return {"versions": dict(self.versions), "known": known, "said": self.said, **cure}


def environment(rows: Sequence[Combination], installed: Mapping[str, str | None]) -> Environment | None:
    """The row that ``installed`` is, or how to make one of it; None if there is no table or nothing is installed.

    Args:
        rows: the first that fits counts. Else that which leaves the first component as it is and changes least.
        installed: component -> version; None: not installed.
    """
    if not rows or not installed:
        return None
    misfits = [row.misfits(installed) for row in rows]
    first = next(iter(installed))
    nearest = min(range(len(rows)), key=lambda index: (first in misfits[index], len(misfits[index])))
    if not misfits[nearest]:
        return Environment(installed, rows[nearest])
    return Environment(installed, None, "; ".join(misfits[nearest].values()))


def table(rows: Iterable[Combination]) -> str:
    """The rows in Markdown."""
    every = list(rows)
    names = list(dict.fromkeys(name for row in every for name in row.versions))
    lines = [[*names, "extra", "how far it is tested"], ["---"] * (len(names) + 2)]
    for row in every:
        cells = [_cell(row, name) for name in names]
        lines.append([*cells, f"`{row.extra}`" if row.extra else "", row.tested])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def release(version: str) -> str:
    """The first two numbers of a version."""
    return ".".join(map(str, parsed(version).release[:2]))


def parsed(version: str) -> Version:
    """A version; of one that Python does not know (``7.0.51831-a3e329ad8``), its numbers."""
    numbers = re.match(r"\d+(\.\d+)*", version)
    try:
        return Version(version)
    except ValueError:
        return Version(numbers[0] if numbers else "0")


def _misfit(name: str, wanted: str, have: str | None) -> str:
    """What to do so that ``name`` is as wanted; "" if it is."""
    if wanted == ABSENT:
        return "" if have is None else f"pip uninstall {name}"
    if not wanted:
        return ""
    if have is None:
        return f"install '{name}{wanted}'"
    if SpecifierSet(wanted).contains(parsed(have), prereleases=True):
        return ""
    return f"install '{name}{wanted}' in place of {have}"


def _cell(row: Combination, name: str) -> str:
    wanted = row.versions.get(name, "")
    if wanted == ABSENT:
        return "none"
    same = ", of one release" if name in row.alike[1:] else ""
    return (wanted or "any") + same + (" or none" if name in row.optional else "")
