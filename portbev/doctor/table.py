"""The table of known conditions: what people see, why, and the cure. A YAML file per room that knows some."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class Severity(enum.Enum):
    """How bad a condition is, worst first; the value is what the page says."""

    STOPS = "stops training"
    BITES = "may bite"
    NOTE = "good to know"


@dataclass(frozen=True)
class Row:
    """A known condition.

    Attributes:
        id: a short name with hyphens.
        what: the condition, in words, without a full stop.
        says: parts of the messages that people see; ``...`` stands for anything on the same line.
        patterns: regular expressions that are looked for in the place of ``says``, where such a part does not do.
        why: how the condition leads to the message.
        cure: a command where there is one.
        severity: of a condition that a check can find; None for one that only its message tells.
        weak: its messages are so general that any other row that matches is the better answer.
    """

    id: str
    what: str
    why: str
    cure: str
    says: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    severity: Severity | None = None
    weak: bool = False


_SEVERITIES = {"stops": Severity.STOPS, "bites": Severity.BITES, "note": Severity.NOTE}


def load(path: Path) -> list[Row]:
    """The rows of a file: a YAML list of mappings with the keys of :class:`Row`.

    Raises:
        ValueError: a row without what it needs, or with a key or a severity that there is none of; it names the row.
    """
    rows = []
    for number, entry in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), 1):
        try:
            rows.append(_row(dict(entry)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path.name}: row {number} ({entry!r:.60}): {type(error).__name__}: {error}") from error
    return rows


def _row(entry: dict[str, Any]) -> Row:
    severity = entry.pop("severity", None)
    values: dict[str, Any] = {key: " ".join(str(entry.pop(key)).split()) for key in ("what", "why")}
    values.update({key: tuple(map(str, entry.pop(key, ()))) for key in ("says", "patterns")})
    values["cure"] = str(entry.pop("cure")).strip()
    return Row(**values, severity=None if severity is None else _SEVERITIES[severity], **entry)
