"""Large JSON tables read row by row with typed decoding, in bounded memory.

A table is a JSON array of objects. It is read in blocks. Each is cut at the last ``} , {`` and decoded as an array of
its own. If these characters are inside a string or a nested array, the cut is wrong; then the block does not decode,
and the rest of the file is read and decoded as a whole.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from portbev.errors import DataError
from portbev.paths import DataPath, as_path

Row = TypeVar("Row", bound=msgspec.Struct)

BLOCK = 8 << 20
"""Bytes read at a time."""

_BORDER = re.compile(rb"\}\s*,\s*\{")
_TAIL = 1 << 14


def read_rows(path: DataPath | str, row_type: type[Row], *, block: int = BLOCK) -> Iterator[list[Row]]:
    """Yield the rows of a table in order, one list per block of the file. Only the fields of ``row_type`` are kept.

    Raises:
        DataError: no such file; not a JSON array of objects; a row without a field, or with one of another type.
    """
    path = as_path(path)
    try:
        handle = path.open("rb")
    except OSError as error:
        raise DataError(
            f"cannot read the table ({error.strerror})", where=str(path), cure="Check the data root and the version"
        ) from error
    decoder = msgspec.json.Decoder(list[row_type])  # type: ignore[valid-type]
    rows_before = 0
    with handle:
        pending = handle.read(block)
        if pending.lstrip()[:1] not in (b"[", b""):
            raise DataError("not a JSON array of rows", where=str(path))
        while piece := handle.read(block):
            pending += piece
            cut = _last_border(pending)
            if cut < 0:
                continue
            rows = _try_decode(decoder, pending[:cut] + b"]")
            if rows is None:
                pending += handle.read()
                break
            yield rows
            rows_before += len(rows)
            pending = b"[" + pending[cut:].lstrip()[1:]  # without the comma
        yield _decode(decoder, pending, row_type, path, rows_before)


def _last_border(text: bytes) -> int:
    """Offset just after the ``}`` of the last ``} , {``, or -1."""
    for start in (max(0, len(text) - _TAIL), 0):
        borders = [match.start() for match in _BORDER.finditer(text, start)]
        if borders:
            return borders[-1] + 1
    return -1


def _try_decode(decoder: msgspec.json.Decoder[list[Row]], text: bytes) -> list[Row] | None:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _decode(
    decoder: msgspec.json.Decoder[list[Row]], text: bytes, row_type: type[Row], path: DataPath, rows_before: int
) -> list[Row]:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise DataError(_shifted(str(error), text, rows_before), where=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # Python's parser also accepts NaN and lone surrogates, which some tools write
    try:
        return msgspec.convert(json.loads(text), list[row_type])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise DataError(_shifted(str(error), text, rows_before), where=str(path)) from error
    except (ValueError, RecursionError) as error:
        message = f"damaged or truncated JSON after row {rows_before} ({error})"
        raise DataError(message, where=str(path), cure="Fetch the table again") from error


def _shifted(message: str, text: bytes, rows_before: int) -> str:
    """msgspec's message with the row number counted from the start of the table, and the row's token if it has one."""
    match = re.search(r"\$\[(\d+)\]", message)
    if match is None:
        return message
    message = message.replace(match[0], f"row {int(match[1]) + rows_before}")
    try:
        return f"{message} (token {json.loads(text)[int(match[1])]['token']})"
    except (ValueError, LookupError, TypeError, RecursionError):
        return message


def table_names(rows: Iterator[list[Any]]) -> dict[str, str]:
    """token -> name, for a small table whose rows have both fields."""
    return {row.token: row.name for block in rows for row in block}


@contextmanager
def no_collection() -> Iterator[None]:
    """Switch off the cyclic garbage collector: decoding makes many objects but no cycles, so it would waste time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
