"""Every key that a configuration may have, with what it means: read off the schemas of framework and plugins."""

from __future__ import annotations

import ast
import difflib
import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic.fields import FieldInfo

from portbev.config.data import CommonData
from portbev.config.meaning import Meaning
from portbev.config.schema import RunConfig
from portbev.config.section import Section
from portbev.config.type_text import type_text
from portbev.config.written import written
from portbev.errors import ConfigError
from portbev.plugins import Plugins, plugins

_UNIT = re.compile(r"\s*\[([^\]]+)\]$")


@dataclass(frozen=True)
class Key:
    """A key of the configuration.

    Attributes:
        path: with dots.
        of: the model families or data kinds that have it so; empty: every configuration.
        text: what it means; empty where its schema does not say.
        unit: empty where it has none.
        kind: its type in words.
        default: as YAML; empty where it must be given.
        meaning: its class.
        section: the schema that it belongs to.
    """

    path: str
    of: tuple[str, ...]
    text: str
    unit: str
    kind: str
    default: str
    meaning: Meaning
    section: type[Section]

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class Group:
    """The keys of one schema: the framework's, a model family's or a data kind's."""

    title: str
    prefix: str
    section: type[Section]
    keys: tuple[Key, ...]


def groups(among: Plugins | None = None) -> list[Group]:
    """The framework's keys, those of ``data`` of every kind, of each data kind and of each model family."""
    found = among or plugins()
    own = tuple(key for key in _keys(RunConfig, "", (), None) if not key.path.startswith(("model", "data")))
    result = [Group("Every configuration", "", RunConfig, own), _group("data of every kind", "data", CommonData, ())]
    for name, kind in sorted(found.data_kinds().items()):
        result.append(_group(f"data.kind: {name}", "data", kind.section, (f"data.kind: {name}",)))
    for name, family in sorted(found.models().items()):
        result.append(_group(f"model.family: {name}", "model", family.config, (f"model.family: {name}",)))
    return result


def find_keys(word: str, among: Plugins | None = None) -> list[Key]:
    """The keys that ``word`` means: a path, a section, the end of paths, or a key of a mapping.

    The same key of several families or kinds comes once where it is the same.

    Raises:
        ConfigError: there is none.
    """
    known = _merged(key for group in groups(among) for key in group.keys)
    for fits in _FITS:
        hits = [key for key in known if fits(key, word)]
        if hits:
            return hits
    near = _near(word, {key.path for key in known})
    hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    raise ConfigError(f"unknown key {word!r}", cure=f"{hint}All keys: portbev config page, or docs/configuration.md")


_FITS: tuple[Callable[[Key, str], bool], ...] = (
    lambda key, word: key.path == word,
    lambda key, word: key.path.startswith(f"{word}."),
    lambda key, word: f".{word}." in f"{key.path}.",
    lambda key, word: key.kind.startswith("mapping") and word.startswith((f"{key.path}.", f"{key.name}.")),
)
"""A path, a section, the end or a part of paths, a key of a mapping: the first that fits anything counts."""


def _near(word: str, paths: Collection[str]) -> list[str]:
    """Up to three keys that ``word`` may stand for."""
    last = word.rpartition(".")[2]
    names = {path.rpartition(".")[2] for path in paths}
    return (
        difflib.get_close_matches(word, sorted(paths), n=3, cutoff=0.8)
        or sorted(path for path in paths if path.endswith(f".{last}"))[:3]
        or difflib.get_close_matches(last, sorted(names), n=3, cutoff=0.6)
    )


def _group(title: str, prefix: str, section: type[Section], of: tuple[str, ...]) -> Group:
    return Group(title, prefix, section, tuple(_keys(section, f"{prefix}.", of, None)))


def _merged(keys: Iterable[Key]) -> list[Key]:
    """Keys that are alike but for ``of`` as one; what every kind of data has says nothing of kinds."""
    merged: dict[tuple[str, ...], Key] = {}
    for key in keys:
        same = (key.path, key.text, key.kind, key.default)
        before = merged.setdefault(same, key)
        if before.of:
            merged[same] = replace(before, of=tuple(dict.fromkeys([*before.of, *key.of])))
    return list(merged.values())


def _keys(
    section: type[Section], prefix: str, of: tuple[str, ...], default: Any, given: Meaning | None = None
) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        said = given or next((mark for mark in field.metadata if isinstance(mark, Meaning)), None)
        value = getattr(default, name) if default is not None else _default(field)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _keys(field.annotation, f"{prefix}{name}.", of, value, said)
            continue
        text = " ".join((field.description or texts(section).get(name, "")).split())
        unit = _UNIT.search(text)
        yield Key(
            path=f"{prefix}{name}",
            of=of,
            text=_UNIT.sub("", text),
            unit=unit[1] if unit else "",
            kind=type_text(field.annotation, field.metadata),
            default="" if field.is_required() and default is None else written(_json(value)),
            meaning=said or section.fields_mean,
            section=section,
        )


@cache
def texts(section: type[Section]) -> dict[str, str]:
    """Field -> the string below it in the source of the class, or of the base that has one.

    pydantic reads them as well (``use_attribute_docstrings``), but whenever a class is made, which every command would
    wait for.
    """
    found: dict[str, str] = {}
    for base in reversed(section.__mro__):
        if not issubclass(base, Section):
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # made where there is no file
            continue
        (definition,) = ast.parse(source).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in pairwise(definition.body):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[field.target.id] = str(below.value.value)
    return found


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _json(value: Any) -> Any:
    return [_json(inner) for inner in value] if isinstance(value, (list, tuple)) else value
