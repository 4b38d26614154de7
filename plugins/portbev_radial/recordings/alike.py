"""Lines of text that differ in numbers alone, as one line with their count."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBER = re.compile(r"(?<![A-Za-z\d])\d+(\.\d+)*")  # not that of radar_ch1


def alike(lines: Iterable[str]) -> list[str]:
    """The first of all lines that differ in numbers alone, with their count if there are several."""
    groups: dict[str, list[str]] = {}
    for line in lines:
        groups.setdefault(_NUMBER.sub("#", line), []).append(line)
    return [group[0] if len(group) == 1 else f"{len(group)} like this one: {group[0]}" for group in groups.values()]
