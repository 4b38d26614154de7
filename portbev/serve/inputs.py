"""The arrays of a request: checked against what the model takes, whatever form they come in.

Pictures are files, one each, in lists that follow the axes before height, width and colours. Other arrays are lists of
numbers or ``.npy`` files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import nearest
from portbev.serve.content import Parts, array, picture
from portbev.serve.refusal import unusable

if TYPE_CHECKING:
    from portbev.export.interface import Field

_SCHEMA = "GET /schema says what is expected"
_SHOWN = 8


def is_picture(field: Field) -> bool:
    """Whether the field holds pictures: 8 bits of three colours."""
    return field.dtype == "uint8" and len(field.shape) >= 3 and field.shape[-1] == 3


def read_inputs(given: Mapping[str, Any], fields: Sequence[Field], parts: Parts) -> dict[str, NDArray[Any]]:
    """The arrays by the names of the fields.

    Args:
        given: ``inputs`` of the request.
        fields: what the model takes.
        parts: of the body.

    Raises:
        RefusalError: a field that is missing, unknown, of another shape or type, or not finite.
    """
    by_name = {field.name: field for field in fields}
    for name in given:
        if name not in by_name:
            cure = nearest(name, by_name, label="The model takes")
            raise unusable("unknown input", where=f"inputs.{name[:80]}", cure=cure)
    missing = [field.name for field in fields if not field.optional and given.get(field.name) is None]
    if missing:
        what = by_name[missing[0]].meaning
        raise unusable(f"is missing: {what}", where=f"inputs.{missing[0]}", cure=_SCHEMA)
    arrays = {name: _read(value, by_name[name], parts) for name, value in given.items() if value is not None}
    parts.check_all_named()
    return arrays


def _read(value: Any, field: Field, parts: Parts) -> NDArray[Any]:
    where = f"inputs.{field.name}"
    if is_picture(field):
        values = _pictures(value, field.shape, parts, where)
    elif isinstance(value, (list, int, float)):
        values = _typed(_numbers(value, where), field, where)
    else:
        values = _typed(array(parts.file(value, where), where), field, where)
    return _checked(values, field, where)


def _pictures(value: Any, shape: Sequence[int | None], parts: Parts, where: str) -> NDArray[Any]:
    """Pictures in lists that follow the leading axes of ``shape``."""
    if len(shape) == 3:
        return picture(parts.file(value, where), where, (shape[0], shape[1]))
    if not isinstance(value, list):
        length = "" if shape[0] is None else f" of {shape[0]}"
        raise unusable(f"should be a list{length}", where=where, cure=_SCHEMA)
    if not value or (shape[0] is not None and len(value) != shape[0]):
        what = f"has {len(value)} entries, the model takes {'one or more' if shape[0] is None else shape[0]}"
        raise unusable(what, where=where, cure=_SCHEMA)
    inner = [_pictures(one, shape[1:], parts, f"{where}[{index}]") for index, one in enumerate(value)]
    for index, one in enumerate(inner):
        if one.shape != inner[0].shape:
            what = f"differs in size from the first: {_said(one.shape)} and {_said(inner[0].shape)}"
            raise unusable(what, where=f"{where}[{index}]", cure="The pictures of a request are of one size")
    return np.stack(inner)


def _numbers(value: Any, where: str) -> NDArray[Any]:
    """Nested lists as an array."""
    try:
        values = np.asarray(value)
    except (ValueError, OverflowError) as error:  # lists of several lengths
        raise unusable("its lists have different lengths", where=where, cure=_SCHEMA) from error
    if values.dtype.kind not in "iuf":
        what = "holds something that is no number" if values.dtype.kind != "b" else "holds true and false, not numbers"
        raise unusable(what, where=where, cure=_SCHEMA)
    return values


def _typed(values: NDArray[Any], field: Field, where: str) -> NDArray[Any]:
    """The values in the field's type, where that loses no more than float rounding does."""
    wanted = np.dtype(field.dtype)
    if values.size == 0 and values.dtype.kind == "f":
        return values.astype(wanted)
    if values.dtype == wanted:
        return values
    if wanted.kind in "iub":
        whole = values.dtype.kind in "iu" or (values.dtype.kind == "b" and wanted.kind == "b")
        if wanted.kind == "b":
            fits = whole and bool(np.isin(values, (0, 1)).all())
        else:
            limits = np.iinfo(wanted)
            fits = whole and (values.size == 0 or (limits.min <= values.min() and values.max() <= limits.max))
        if not fits:
            raise unusable(f"holds {values.dtype} that is no {field.dtype}", where=where, cure=_SCHEMA)
    elif values.dtype.kind not in "iuf" and not (values.dtype.kind == wanted.kind == "c"):
        raise unusable(f"holds {values.dtype}, the model takes {field.dtype}", where=where, cure=_SCHEMA)
    with np.errstate(over="ignore"):
        return values.astype(wanted)


def _checked(values: NDArray[Any], field: Field, where: str) -> NDArray[Any]:
    fits = len(values.shape) == len(field.shape) and all(
        wanted in (None, side) for side, wanted in zip(values.shape, field.shape, strict=True)
    )
    if not fits:
        what = f"has shape {_said(values.shape)}, the model takes {_said(field.shape)}: {field.meaning}"
        raise unusable(what, where=where, cure=_SCHEMA)
    if values.dtype.kind in "fc" and not np.isfinite(values).all():
        place = [int(index[0]) for index in np.nonzero(~np.isfinite(values))]
        at = "".join(f"[{index}]" for index in place)
        raise unusable("is not finite", where=f"{where}{at}", cure="Send finite numbers")
    return values


def _said(shape: Sequence[int | None]) -> str:
    """``6 x 900 x 1600 x 3``."""
    sides = ["any" if side is None else str(side) for side in shape[:_SHOWN]]
    return " x ".join(sides) if sides else "of one number"
