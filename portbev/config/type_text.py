"""Types of configuration keys in words."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def type_text(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """``number > 0``, ``whole number >= 1 or null``, ``adamw or sgd``, ``3 numbers``, ``list of text``.

    Args:
        metadata: what confines the value: pydantic's bounds.
    """
    marks = [inner for mark in metadata for inner in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0], [*arguments[1:], *marks])
    if origin in (Union, types.UnionType):
        said = [type_text(part, marks) for part in arguments if part is not type(None)]
        return " or ".join([*said, *(["null"] if type(None) in arguments else [])])
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin is tuple:
        return _sequence(arguments, marks)
    if origin is dict:
        return f"mapping of text to {type_text(arguments[1])}"
    return _plain(annotation) + _bounds(marks)


def _plain(annotation: Any) -> str:
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bounds(marks: Iterable[Any]) -> str:
    said = [
        f"{sign} {getattr(mark, name):g}" for mark in marks for name, sign in _BOUNDS.items() if hasattr(mark, name)
    ]
    said += [f"a multiple of {mark.multiple_of:g}" for mark in marks if hasattr(mark, "multiple_of")]
    return f" {', '.join(said)}" if said else ""


def _sequence(arguments: tuple[Any, ...], marks: list[Any]) -> str:
    inner = type_text(arguments[0])
    if arguments[-1] is not Ellipsis:
        return (
            f"{len(arguments)} of: {inner}"
            if len(set(arguments)) == 1
            else "list of " + ", ".join(map(type_text, arguments))
        )
    least = next((mark.min_length for mark in marks if getattr(mark, "min_length", None) is not None), None)
    most = next((mark.max_length for mark in marks if getattr(mark, "max_length", None) is not None), None)
    count = "list" if least is None else f"{least}" if least == most else f"{least} or more"
    return f"list of: {inner}" if count == "list" else f"{count} of: {inner}"
