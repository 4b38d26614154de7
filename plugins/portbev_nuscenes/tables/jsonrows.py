"""Large JSON tables read row by row with typed decoding, in bounded memory.

A table is a JSON array of objects. It is read in blocks; each block is cut behind a row and decoded as an array of its
own. A cut is only a guess (the text of a row may look like a border between rows), but a wrong guess cannot pass: the
piece before it would end inside a string or below the array's level, and would not decode. Then the rest is read whole.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from portbev.errors import DataError

Row = TypeVar("Row", bound=msgspec.Struct)

BLOCK = 8 << 20
"""Bytes read at a time."""

_BORDER = re.compile(rb"\}\s*,\s*\{")
_TAIL = 1 << 14


def read_rows(path: Path | str, row_type: type[Row], *, block: int = BLOCK) -> Iterator[list[Row]]:
    """The rows of a table, some at a time, in order. Only the fields of ``row_type`` are kept.

    Raises:
        DataError: no such file; not a JSON array of objects; a row without a field, or with one of another type.
    """
    path = Path(path)
    try:
        handle = open(path, "rb")  # noqa: SIM115 - closed below, apart from the error of a missing file
    except OSError as error:
        raise DataError(
            f"cannot read the table ({error.strerror})", where=str(path), cure="Check the data root and the version"
        ) from error
    decoder = msgspec.json.Decoder(list[row_type])  # type: ignore[valid-type]
    done = 0
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
            done += len(rows)
            pending = b"[" + pending[cut:].lstrip()[1:]  # without the comma
        yield _decode(decoder, pending, row_type, path, done)


def _last_border(text: bytes) -> int:
    """Position right behind the ``}`` of the last ``} , {``, or -1."""
    for start in (max(0, len(text) - _TAIL), 0):
        borders = [found.start() for found in _BORDER.finditer(text, start)]
        if borders:
            return borders[-1] + 1
    return -1


def _try_decode(decoder: msgspec.json.Decoder[list[Row]], text: bytes) -> list[Row] | None:
    try:
        return decoder.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _decode(
    decoder: msgspec.json.Decoder[list[Row]], text: bytes, row_type: type[Row], path: Path, done: int
) -> list[Row]:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise DataError(_shifted(str(error), text, done), where=str(path)) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # Python's parser takes what others write: NaN, lone surrogates
    try:
        return msgspec.convert(json.loads(text), list[row_type])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise DataError(_shifted(str(error), text, done), where=str(path)) from error
    except (ValueError, RecursionError) as error:
        what = f"damaged or truncated JSON after row {done} ({error})"
        raise DataError(what, where=str(path), cure="Fetch the table again") from error


def _shifted(message: str, text: bytes, done: int) -> str:
    """msgspec's message with the row counted from the beginning of the table, and the row's token where it has one."""
    found = re.search(r"\$\[(\d+)\]", message)
    if found is None:
        return message
    message = message.replace(found[0], f"row {int(found[1]) + done}")
    try:
        return f"{message} (token {json.loads(text)[int(found[1])]['token']})"
    except (ValueError, LookupError, TypeError, RecursionError):
        return message


def table_names(rows: Iterator[list[Any]]) -> dict[str, str]:
    """token -> name of a small table whose rows have both."""
    return {row.token: row.name for some in rows for row in some}


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the cyclic garbage collector: many objects, no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
