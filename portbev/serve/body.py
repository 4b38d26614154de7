"""Reads a request's body within limits of size and time, and takes it apart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from portbev.errors import nearest
from portbev.serve.refusal import RefusalError, unusable

if TYPE_CHECKING:
    from starlette.requests import Request

    from portbev.serve.limits import Limits

REQUEST = "request"
"""The part of a multipart body that holds the JSON."""

_MAX_PARTS = 200
_KINDS = "application/json, or multipart/form-data"
_PATIENCE = 2.0  # seconds that a refused body is read on, so that its sender gets to read why
_Schema = TypeVar("_Schema", bound=BaseModel)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body.

    Raises:
        RefusalError: it is too large (413), too slow (408), or compressed (415).
    """
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        what = f"a body that is encoded as {encoding[:40]!r} is not read"
        raise RefusalError(415, what, where="Content-Encoding", cure="Send it as it is: JPEG and PNG are compressed")
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > limits.max_body:
        raise _too_large(limits)
    try:
        body = await asyncio.wait_for(_up_to(request, limits.max_body), limits.read_timeout)
    except asyncio.TimeoutError as error:  # not the builtin one before Python 3.11
        what = f"the body did not arrive within {limits.read_timeout:g} s"
        raise RefusalError(
            408, what, cure="Send it at once, or start the server with a longer --read-timeout"
        ) from error
    if len(body) > limits.max_body:
        raise _too_large(limits)
    return body


async def discard(request: Request, limits: Limits) -> None:
    """Read on for a moment what a refused client still sends: one that is cut off would never read the answer."""
    from starlette.requests import ClientDisconnect

    async def to_the_end() -> None:
        seen = 0
        async for chunk in request.stream():
            seen += len(chunk)
            if seen > 4 * limits.max_body:
                return

    try:
        await asyncio.wait_for(to_the_end(), _PATIENCE)
    except (asyncio.TimeoutError, RuntimeError, ClientDisconnect):  # RuntimeError: it was read to its end before
        return


async def _up_to(request: Request, size: int) -> bytes:
    """The body, or its beginning of more than ``size`` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > size:
            break
    return bytes(body)


def _too_large(limits: Limits) -> RefusalError:
    what = f"the body has more than {limits.max_body:,} bytes"
    return RefusalError(413, what, cure="Send JPEG, or start the server with a larger --max-body")


def take_apart(content_type: str, body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The JSON of a body, and its other parts by name.

    Raises:
        RefusalError: neither JSON nor multipart (415), or a broken one (400).
    """
    kind = content_type.split(";", maxsplit=1)[0].strip().lower()
    if kind == "application/json":
        return body, {}
    if kind == "multipart/form-data":
        parts = _parts(content_type, body)
        if REQUEST not in parts:
            cure = f"Name the part with the JSON {REQUEST!r}"
            raise RefusalError(400, "the request itself is missing", where=f"part {REQUEST!r}", cure=cure)
        return parts.pop(REQUEST), parts
    what = f"cannot read {kind[:80]!r}" if kind else "is missing"
    raise RefusalError(415, what, where="Content-Type", cure=f"Send {_KINDS}")


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """The parts of a multipart body by name."""
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        cure = "Let the HTTP client write this header: it knows the boundary"
        raise RefusalError(400, "names no boundary", where="Content-Type", cure=cure)
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except ValueError as error:  # of which the parser's own errors are
        raise RefusalError(400, "the multipart body is broken", cure="Let an HTTP client's library write it") from error
    if not reader.ended:
        raise RefusalError(400, "the multipart body is cut short", cure="Send it to its closing boundary")
    return reader.parts


class _Reader:
    """Collects the parts of a body that is in memory already."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self.ended = False
        self._field, self._value, self._content = b"", b"", bytearray()
        self._headers: dict[bytes, bytes] = {}

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._all,
        }

    def _begin(self) -> None:
        self._headers, self._content = {}, bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field, self._value = b"", b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _end(self) -> None:
        from python_multipart.multipart import parse_options_header

        options = parse_options_header(self._headers.get(b"content-disposition", b""))[1]
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if not name:
            cure = 'Each part needs: Content-Disposition: form-data; name="NAME"'
            raise RefusalError(400, "a part has no name", where="multipart body", cure=cure)
        if name in self.parts:
            raise RefusalError(400, f"two parts are named {name[:80]!r}", where="multipart body", cure="Name each once")
        if len(self.parts) >= _MAX_PARTS:
            raise RefusalError(400, f"more than {_MAX_PARTS} parts", where="multipart body")
        self.parts[name] = bytes(self._content)

    def _all(self) -> None:
        self.ended = True


def understood(schema: type[_Schema], text: bytes) -> _Schema:
    """The request that a JSON text means.

    Raises:
        RefusalError: no JSON (400), or one that the schema refuses (422).
    """
    try:
        return schema.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        kind, said = first["type"], str(first["msg"]).removeprefix("Value error, ")
        if kind == "json_invalid":
            said = said.removeprefix("Invalid JSON: ")
            raise RefusalError(
                400, f"is no JSON: {said}", where="body", cure="GET /schema says what is expected"
            ) from error
        where = path_of(first["loc"])
        if kind == "extra_forbidden":
            raise unusable("unknown key", where=where, cure=_names(schema, first["loc"])) from error
        if kind == "missing":
            raise unusable("is missing", where=where, cure="GET /schema says what it is") from error
        given = "" if isinstance(first["input"], (Mapping, list)) else f", got {_short(first['input'])}"
        said = said[:1].lower() + said[1:]
        raise unusable(f"{said}{given}", where=where, cure="GET /schema says what is expected") from error


def path_of(location: tuple[int | str, ...]) -> str:
    """``frames[0].cameras.FRONT`` of a place in the JSON."""
    path = ""
    for step in location:
        if step in ("str", "Part") or str(step).startswith(("constrained-", "function-")):
            continue  # which form of several was tried
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path or "body"


def _names(schema: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """The cure for an unknown key: the nearest known one."""
    known, at = set[str](), schema
    for step in location[:-1]:
        field = at.model_fields.get(str(step)) if isinstance(step, str) else None
        inner = None if field is None else _model_in(field.annotation)
        if inner is not None:
            at = inner
    known = set(at.model_fields)
    return nearest(str(location[-1]), known, label="Known here") if known else ""


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in ``Model``, ``list[Model]``, ``tuple[Model, ...]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(inner) for inner in getattr(annotation, "__args__", ()))
    return next((one for one in found if one is not None), None)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
