"""Values and configurations as YAML that reads as people write it, and that :mod:`portbev.config.yamls` reads back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from portbev.config.layers import Layers
from portbev.config.meaning import Meaning
from portbev.config.schema import RunConfig
from portbev.config.section import keys_of
from portbev.config.shipped import short_name
from portbev.config.yamls import parse_yaml

_WORD = re.compile(r"[A-Za-z_][\w./+-]*")
_COMMENT = 44
"""Column of the comments, where the value leaves room."""


def written(value: Any) -> str:
    """A JSON value in one line: ``[0.9, 0.999]``, ``null``, ``2e-4`` as ``0.0002``."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{written(key)}: {written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        plain = _WORD.fullmatch(value) and parse_yaml(value, "") == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def annotated(config: RunConfig, origins: Mapping[str, str], width: int | None = None) -> str:
    """The whole configuration as YAML, each key with its class and who said it in a comment.

    Args:
        width: of the terminal: a comment that does not fit beside its key stands above it. None: there is no terminal.
    """
    lines: list[str] = []
    open_sections: tuple[str, ...] = ()
    comments = {path: f"# {meaning.value:<7}  {origins['.'.join(path)]}" for path, _, meaning in _leaves(config)}
    column = _COMMENT if width is None else max(0, min(_COMMENT, width - 2 - max(map(len, comments.values()))))
    for path, value, _ in _leaves(config):
        sections = path[:-1]
        common = sum(1 for _ in _while_equal(sections, open_sections))
        lines += [f"{'  ' * depth}{sections[depth]}:" for depth in range(common, len(sections))]
        open_sections = sections
        indent = "  " * len(sections)
        text = f"{indent}{written(path[-1])}: {written(value)}"
        if width is None or len(text) <= column:
            lines.append(f"{text:<{column}}  {comments[path]}")
        else:
            lines += [f"{indent}{comments[path]}", *_folded(text, width, f"{indent}  ")]
    return "\n".join(lines) + "\n"


def _folded(text: str, width: int, indent: str) -> list[str]:
    """A key and its value in lines of ``width``, at the commas of its lists."""
    lines, line = [], ""
    for part in re.split(r"(?<=, )", text):
        if line.strip() and len(line) + len(part.rstrip()) > width:
            lines.append(line.rstrip())
            line = indent
        line += part
    return [*lines, line]


def origins(config: RunConfig, layers: Layers) -> dict[str, str]:
    """Key -> the file or setting that said it, or ``default``.

    Args:
        layers: as they were before they were validated.
    """
    return {".".join(path): short_name(layers.says(path) or "default") for path, _, _ in _leaves(config)}


def _leaves(config: RunConfig) -> Iterable[tuple[tuple[str, ...], Any, Meaning]]:
    """Like :func:`portbev.config.section.keys_of`, but a mapping, whose keys may have dots, is one value."""
    seen: dict[tuple[str, ...], tuple[Any, Meaning]] = {}
    values = config.model_dump(mode="json")
    for key, _, meaning in keys_of(config):
        path, value = _down(config, values, key.split("."))
        seen.setdefault(path, (value, meaning))
    return [(path, value, meaning) for path, (value, meaning) in seen.items()]


def _down(section: Any, values: Any, parts: list[str]) -> tuple[tuple[str, ...], Any]:
    path: tuple[str, ...] = ()
    for part in parts:
        path, values, section = (*path, part), values[part], getattr(section, part)
        if not hasattr(section, "model_dump"):
            break
    return path, values


def _while_equal(one: Iterable[str], other: Iterable[str]) -> Iterable[str]:
    for a, b in zip(one, other, strict=False):
        if a != b:
            return
        yield a
