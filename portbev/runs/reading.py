"""Reading a JSON file of a run directory into its schema, with one line for whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from portbev.errors import PortbevError
from portbev.files import parse_json

Model = TypeVar("Model", bound=BaseModel)
_CURE = "Copy the run directory again, or do without this run"


def read_as(model: type[Model], path: Path, schema: str) -> Model:
    """The content of ``path``, which must say that its schema is ``schema``.

    Raises:
        PortbevError: not readable, no JSON object, another schema, or a field that is missing or wrong.
    """
    content = read_object(path)
    if content.get("schema") != schema:
        what = f"schema is {content.get('schema')!r}, this version reads {schema!r}"
        raise PortbevError(what, where=str(path), cure="Use the version of portbev that wrote it")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise PortbevError(f"is damaged: {in_words(error)}", where=str(path), cure=_CURE) from error


def in_words(error: ValidationError) -> str:
    """The first field that is wrong, and how."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        PortbevError: not readable, or not JSON, or no object.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PortbevError(f"cannot be read: {error}", where=str(path), cure=_CURE) from error
    if not isinstance(content, dict):
        raise PortbevError("holds no JSON object", where=str(path), cure=_CURE)
    return content
