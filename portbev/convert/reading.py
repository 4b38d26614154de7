"""Taking values out of another project's configuration, with an account of every value: none is lost in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from portbev.convert.expressions import Called, Symbol
from portbev.convert.source import Source
from portbev.errors import ConfigError

MISSING: Any = object()
MOST_VALUES = 50_000


@dataclass
class Reading:
    """A configuration that is being converted.

    Paths have dots; whole numbers are elements of lists: ``model.head.attn_cfgs.0.num_heads``.

    Attributes:
        source: what is read.
        devices: on how many devices the original's learning rate holds.
        taken: this project's key -> (value, path that it is from); the path is empty for what follows from the file as
            a whole.
        different: (path, value, what is done here instead), for values that the family's models cannot have.
        aside: path -> why it is not needed.
        notes: what a person should know.
    """

    source: Source
    devices: int
    taken: dict[str, tuple[Any, str]] = field(default_factory=dict)
    different: list[tuple[str, Any, str]] = field(default_factory=list)
    aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _read: set[str] = field(default_factory=set)
    _unsaid: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if size(self.source.values, {}) > MOST_VALUES:
            raise ConfigError("has more values than a configuration", where=str(self.source.path))

    def get(self, path: str, default: Any = None) -> Any:
        """The value at ``path``; ``default`` where there is none. It counts as read, with all below it."""
        value = _at(self.source.values, path)
        if value is MISSING:
            return default
        self._read.add(path)
        if isinstance(value, Symbol) or (isinstance(value, Called) and not isinstance(default, Called)):
            said = value if isinstance(value, Symbol) else value.get("type", "")
            self.different.append((path, said, "it cannot be computed without executing the file"))
            return default
        return value

    def mark(self, path: str) -> None:
        """Count ``path``, and all below it, as read."""
        self._read.add(path)

    def has(self, path: str) -> bool:
        """Whether there is a value."""
        return _at(self.source.values, path) is not MISSING

    def take(self, key: str, path: str, change: Callable[[Any], Any] | None = None, *, default: Any = MISSING) -> Any:
        """Give this project's ``key`` the value at ``path``; returns it.

        Args:
            change: makes it this project's value.
            default: what the original takes where its file says nothing, as this project's value.
        """
        value = self.get(path, MISSING)
        if value is MISSING:
            if default is not MISSING:
                self.taken[key] = default, ""
            else:
                self._unsaid[key] = None
            return None if default is MISSING else default
        try:
            value = value if change is None else change(value)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            what = f"{path} is not as the original has it ({type(error).__name__}: {error})"
            raise ConfigError(what, where=str(self.source.path)) from error
        self.taken[key] = value, path
        return value

    def set(self, key: str, value: Any, path: str = "") -> None:
        """Give ``key`` a value that follows from the file, or from ``path`` in it."""
        self.taken[key] = value, path

    def same(self, path: str, *expected: Any) -> None:
        """What the models here always have: any other value is told as different."""
        value = self.get(path, MISSING)
        if value is not MISSING and not any(equal(value, one) for one in expected):
            self.different.append((path, value, f"here it is {' or '.join(map(short, expected))}"))

    def agrees(self, key: str, *paths: str) -> None:
        """Places that say again what ``key`` got: another value is told as different."""
        value = self.taken[key][0]
        for path in paths:
            there = self.get(path, MISSING)
            if there is not MISSING and not equal(there, value):
                self.different.append((path, there, f"{key} is {short(value)} for all"))

    def leave(self, why: str, *paths: str) -> None:
        """What is not needed here, whatever its value."""
        for path in paths:
            if self.has(path):
                self._read.add(path)
                self.aside[path] = why

    def step(self, pipeline: str, kind: str) -> str:
        """Path of the first dictionary of that ``type`` in a list, or in lists inside it; empty where there is none."""
        steps = _at(self.source.values, pipeline)
        for index, step in enumerate(steps if isinstance(steps, (list, tuple)) else ()):
            if isinstance(step, Mapping):
                if step.get("type") == kind:
                    return f"{pipeline}.{index}"
                if found := self.step(f"{pipeline}.{index}.transforms", kind):
                    return found
        return ""

    def unsaid(self) -> list[str]:
        """Keys for which the file says nothing and the original's default is not known: this project's stands."""
        return [key for key in self._unsaid if key not in self.taken]

    def left(self, roots: Callable[[str], bool]) -> list[tuple[str, Any]]:
        """Paths and values that nothing has read, of the top-level names that ``roots`` accepts."""
        return [
            (path, value)
            for path, value in leaves(self.source.values)
            if roots(path.partition(".")[0]) and not self._is_read(path)
        ]

    def _is_read(self, path: str) -> bool:
        while path:
            if path in self._read:
                return True
            path = path.rpartition(".")[0]
        return False


def _at(values: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(values, Mapping):
            values = values.get(part, MISSING)
        elif isinstance(values, (list, tuple)) and part.isdigit() and int(part) < len(values):
            values = values[int(part)]
        else:
            return MISSING
    return values


def size(value: Any, known: dict[int, int]) -> int:
    """How many values there are in a nested one, with each repetition; what is shared is counted in no time."""
    if not isinstance(value, (Mapping, list, tuple)):
        return 1
    if id(value) not in known:
        known[id(value)] = 1  # of itself, if it holds itself
        items = value.values() if isinstance(value, Mapping) else value
        known[id(value)] = 1 + sum(size(item, known) for item in items)
    return known[id(value)]


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Paths and values: what holds no dictionary and no list is one value, and so is an empty one."""
    nested = isinstance(values, Mapping) or (
        isinstance(values, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in values)
    )
    if not nested or not values or path.count(".") > 60:
        yield path, values
        return
    items = values.items() if isinstance(values, Mapping) else enumerate(values)
    for key, item in items:
        yield from leaves(item, f"{path}.{key}" if path else str(key))


def equal(one: Any, other: Any) -> bool:
    """Whether two values are the same, lists and tuples being alike."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other) and (isinstance(one, bool) == isinstance(other, bool))


def short(value: Any) -> str:
    """A value in a line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
