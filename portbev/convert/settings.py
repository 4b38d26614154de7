"""Configurations of mmcv's kind: dictionaries at the top level of a Python file, inherited by ``_base_``."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portbev.convert.expressions import Called, Symbol
from portbev.convert.python_file import follow_file
from portbev.convert.source import Source
from portbev.errors import ConfigError

BASE, DELETE = "_base_", "_delete_"
MOST_FILES = 64
_PREDEFINED = re.compile(r"\{\{\s*(fileDirname|fileBasenameNoExtension|fileBasename|fileExtname)\s*\}\}")


def read_settings(path: Path) -> Source:
    """The values of a configuration with those that it inherits, merged as mmcv merges them.

    A file in ``_base_`` that is not there is noted, not refused: the originals inherit from a checkout of mmdetection3d
    beside them, and write over what matters.

    Raises:
        ConfigError: see :func:`portbev.convert.source.read_source`; or a file that inherits from itself, or two
            inherited files that say the same key.
    """
    source = Source(path, "config", {})
    source.values = _read(path, source, ())
    return source


def _read(path: Path, source: Source, above: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in above:
        raise ConfigError("inherits from itself", where=str(path), cure=f"Look at its {BASE}")
    if len(above) > MOST_FILES:
        raise ConfigError("inherits through too many files", where=str(path))

    def change(text: str) -> str:
        return _PREDEFINED.sub(lambda found: _predefined(path)[found[1]], text)

    first = follow_file(path, change=change)  # for its _base_: {{_base_.KEY}} is not known yet
    listed = first.names.get(BASE, [])
    bases = [listed] if isinstance(listed, str) else listed
    if not isinstance(bases, (list, tuple)) or not all(isinstance(one, str) for one in bases):
        raise ConfigError(f"{BASE} names no files", where=str(path), cure="It is a path, or a list of paths")
    inherited: dict[str, Any] = {}
    for name in bases:
        file = path.parent / name
        if not file.is_file():
            source.notes.append(f"{path.name} inherits from {name}, which is not there: what it says is not taken")
            continue
        if file.suffix != ".py":
            raise ConfigError(f"inherits from {name}, which is no .py file", where=str(path))
        for key, value in _read(file, source, (*above, resolved)).items():
            if key in inherited:
                what = f"two files in {BASE} say {key!r}"
                raise ConfigError(what, where=str(path), cure="mmcv refuses that too: leave one of them out")
            inherited[key] = value
    own = follow_file(path, inherited, strict=True, change=change)
    source.used |= own.used
    values = {
        name: value
        for name, value in own.names.items()
        if not name.startswith("__") and name != BASE and not isinstance(value, Symbol)
    }
    return merge(inherited, values, str(path))


def _predefined(path: Path) -> dict[str, str]:
    """The variables that mmcv defines for every file."""
    return {
        "fileDirname": str(path.parent),
        "fileBasename": path.name,
        "fileBasenameNoExtension": path.stem,
        "fileExtname": path.suffix,
    }


def merge(base: Mapping[str, Any], over: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``base`` with the values of ``over``, dictionaries key by key, as mmcv's Config does.

    A dictionary with ``_delete_=True`` takes the place of the inherited one. One with whole numbers as keys changes the
    elements of an inherited list.

    Raises:
        ConfigError: a dictionary in the place of something else, without ``_delete_``.
    """
    merged = copy.deepcopy(dict(base))
    for key, value in over.items():
        there = merged.get(key)
        if not isinstance(value, Mapping) or isinstance(value, Called):
            merged[key] = copy.deepcopy(value)
            continue
        fresh = {name: item for name, item in value.items() if name != DELETE}
        if key not in merged or value.get(DELETE):
            merged[key] = merge({}, fresh, where)
        elif isinstance(there, Mapping):
            merged[key] = merge(there, fresh, where)
        elif isinstance(there, list) and all(str(name).isdigit() for name in fresh):
            merged[key] = _changed(there, fresh, key, where)
        else:
            what = f"{key} is a dictionary, and {type(there).__name__} in the inherited file"
            raise ConfigError(what, where=where, cure=f"Add {DELETE}=True to it, as mmcv asks")
    return merged


def _changed(there: list[Any], fresh: Mapping[str, Any], key: str, where: str) -> list[Any]:
    made = list(there)
    for name, item in fresh.items():
        if int(name) >= len(made):
            raise ConfigError(f"{key}.{name}: the inherited list has {len(made)} elements", where=where)
        old = made[int(name)]
        made[int(name)] = merge(old, item, where) if isinstance(old, Mapping) and isinstance(item, Mapping) else item
    return made
