"""Requests, looked at before anything is computed of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError, nearest
from portbev.export.interface import Field, Request


def checked(requests: Sequence[Request], fields: Sequence[Field]) -> list[dict[str, NDArray[Any]]]:
    """The requests with each field in its dtype.

    Numbers are converted where nothing but precision is lost: integers and floats to floats; never to integers.

    Raises:
        DataError: a field that is missing, not known, of another dtype or shape, or not finite; says where.
    """
    return [_checked(request, fields, f"request {index}: ") for index, request in enumerate(requests)]


def _checked(request: Request, fields: Sequence[Field], prefix: str) -> dict[str, NDArray[Any]]:
    known = {field.name: field for field in fields}
    for name in request:
        if name not in known:
            raise DataError("unknown field", where=f"{prefix}{name}", cure=nearest(str(name), known))
    found = {}
    for name, field in known.items():
        if name in request:
            found[name] = _array(request[name], field, f"{prefix}{name}")
        elif not field.optional:
            raise DataError("is missing", where=f"{prefix}{name}", cure=f"Give {said(field)}: {field.meaning}")
    return found


def _array(value: Any, field: Field, where: str) -> NDArray[Any]:
    array, wanted = np.asarray(value), np.dtype(field.dtype)
    cure = f"Give {said(field)}: {field.meaning}"
    fits = array.ndim == len(field.shape) and all(
        length is None or length == size for length, size in zip(field.shape, array.shape, strict=True)
    )
    numbers = array.dtype.kind in ("biuf" if wanted.kind == "f" else "")
    if array.dtype != wanted and not numbers:
        raise DataError(f"is {array.dtype}", where=where, cure=cure)
    if not fits:
        raise DataError(f"has the shape {shape_said(array.shape)}", where=where, cure=cure)
    if array.size == 0:
        raise DataError("is empty", where=where, cure=cure)
    array = array.astype(wanted, copy=False)
    if wanted.kind == "f" and not np.isfinite(array).all():
        raise DataError("holds a value that is not finite", where=where, cure=cure)
    return array


def said(field: Field) -> str:
    """``uint8 (6, 112, 200, 3)``, with ``any`` for a length that is not fixed."""
    return f"{field.dtype} {shape_said(field.shape)}"


def shape_said(shape: Sequence[int | None]) -> str:
    """``(6, any, 3)``."""
    return f"({', '.join('any' if length is None else str(length) for length in shape)}{',' * (len(shape) == 1)})"
