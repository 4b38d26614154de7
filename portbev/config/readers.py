"""Where the code reads a key of the configuration: found by name, without running anything."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from portbev.config.keys import Key


def readers(key: Key, most: int = 5) -> list[str]:
    """``portbev/train/optim.py:89``, the first places where the key is read.

    A place counts where the key follows the name of its section (``optimizer.lr``), or ``section`` or ``config`` in a
    file that names the section's class; where there is none, any in the package of the schema. So a place may be
    missed, or be that of another section's key of the same name.
    """
    parent = key.path.rpartition(".")[0].rpartition(".")[2] or "config"
    direct = re.compile(rf"\b{parent}\.{key.name}\b(?!\()")
    loose = re.compile(rf"\b(?:section|config|settings)\.{key.name}\b(?!\()")
    own, *others = _packages(key)
    found = [
        place
        for folder in (own, *others)
        for path, text in _sources(folder, key)
        for place in _places(folder, path, text, [direct, loose] if key.section.__name__ in text else [direct])
    ]
    if not found:
        any_place = [re.compile(rf"\.{key.name}\b(?!\()")]
        found = [place for path, text in _sources(own, key) for place in _places(own, path, text, any_place)]
    return found[:most] + ([f"and {len(found) - most} more"] if len(found) > most else [])


def _sources(folder: Path, key: Key) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f".{key.name}" in text and path.parent.name != "config" and path.name != "config.py":
            yield path, text


def _places(folder: Path, path: Path, text: str, patterns: list[re.Pattern[str]]) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if any(pattern.search(line) for pattern in patterns):
            yield f"{path.relative_to(folder.parent)}:{number}"


def _packages(key: Key) -> list[Path]:
    """The package of the key's schema, and the framework."""
    names = dict.fromkeys([key.section.__module__.partition(".")[0], "portbev"])
    return [Path(file).parent for name in names if (file := sys.modules[name].__file__)]
