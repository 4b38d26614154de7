"""What stands for an object that a pickle describes: its name and its parts, and no code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MAX_DEPTH = 12  # levels of nesting that are looked at; files of people have less than half


class Global:
    """A name in a pickle, such as ``collections.OrderedDict``. What has this name is never looked up."""

    __slots__ = ("name",)

    def __init__(self, module: str, name: str) -> None:
        self.name = f"{module}.{name}"

    def __repr__(self) -> str:
        return f"<{self.name}>"


class StandIn:
    """An object of a class that is not known here.

    Attributes:
        kind: full name of its class or of the function that would have made it.
        args: what that would have been called with.
        state: its attributes, where the pickle has them.
        mapping: its items, where it is a kind of mapping.
        items: its elements, where it is a kind of list.
    """

    __slots__ = ("args", "items", "kind", "mapping", "state")

    def __init__(self, kind: str, args: tuple[Any, ...] = ()) -> None:
        self.kind, self.args = kind, args
        self.state: Any = None
        self.mapping: dict[Any, Any] = {}
        self.items: list[Any] = []

    def __repr__(self) -> str:
        return f"<{self.kind}>"


def entries(value: object) -> Mapping[str, Any] | None:
    """The named parts of a mapping or of a stand-in, keys as text; None for anything else.

    A stand-in for a whole ``nn.Module`` has the names that its ``state_dict`` would have.
    """
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if not isinstance(value, StandIn):
        return None
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:  # attributes, and those of slots
        state = state[0]
    attributes = entries(state) if isinstance(state, Mapping) else {}
    parts: dict[str, Any] = {}
    for group in ("_parameters", "_buffers", "_modules"):
        parts.update(entries(attributes.get(group) if attributes else None) or {})
    if parts:
        return parts
    return {**(attributes or {}), **{str(key): item for key, item in value.mapping.items()}}


def walk(value: object, depth: int = MAX_DEPTH) -> Iterator[tuple[str, object]]:
    """Every (dotted name, leaf) below ``value``; lists and tuples are leaves."""
    yield from _walk(value, "", depth, ())


def _walk(value: object, path: str, depth: int, above: tuple[int, ...]) -> Iterator[tuple[str, object]]:
    parts = entries(value)
    if parts is None or (isinstance(value, StandIn) and not parts):
        yield path, value
        return
    if depth == 0 or id(value) in above:
        return
    for key, item in parts.items():
        yield from _walk(item, f"{path}.{key}" if path else key, depth - 1, (*above, id(value)))
