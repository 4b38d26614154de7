"""The values that a pickle may build: tensors over the file's storages, arrays, and containers."""

from __future__ import annotations

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from portbev.tensorfiles.standins import Global, StandIn
from portbev.tensorfiles.unpickling import Builders, Makers, checked_key

DTYPES = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGES: dict[str, torch.dtype] = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Double": torch.float64,
        "Float": torch.float32,
        "Half": torch.float16,
        "BFloat16": torch.bfloat16,
        "Long": torch.int64,
        "Int": torch.int32,
        "Short": torch.int16,
        "Char": torch.int8,
        "Byte": torch.uint8,
        "Bool": torch.bool,
        "ComplexDouble": torch.complex128,
        "ComplexFloat": torch.complex64,
    }.items()
} | {"torch.storage.UntypedStorage": torch.uint8, "torch.UntypedStorage": torch.uint8}
STORAGES |= {name.replace("torch.", "torch.cuda.", 1): dtype for name, dtype in STORAGES.items()}

MAX_EXPANDED = 1 << 24  # numbers of a tensor that repeats its stored numbers
_DTYPE_CODE = re.compile(r"[<>|=]?([biufcSUV?]|[mM]8?)\d*")
_NUMBERS = "biufc?"


def storage_dtype(kind: object) -> torch.dtype:
    """Element type of a storage class that a pickle names.

    Raises:
        pickle.UnpicklingError: no such class.
    """
    name = kind.name if isinstance(kind, Global) else ""
    if name not in STORAGES:
        raise pickle.UnpicklingError(f"a storage of kind {name or type(kind).__name__}")
    return STORAGES[name]


def _view(storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """A tensor over ``storage``, which must reach as far as sizes and strides do."""
    if not isinstance(storage, Tensor):
        raise pickle.UnpicklingError("a tensor without a storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor of impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.numel():
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} in a storage of {storage.numel()} numbers")
    if math.prod(size) > max(storage.numel(), MAX_EXPANDED):
        raise pickle.UnpicklingError(f"a tensor of shape {tuple(size)} out of {storage.numel()} stored numbers")
    return storage.as_strided(size, stride, storage.storage_offset() + offset)


def _tensor(storage: object, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    return _view(storage, offset, size, stride)


def _typed_tensor(
    storage: object,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    _grad: object,
    _hooks: object,
    *more: Any,
) -> Tensor:
    kind = more[0] if more else None
    dtype = DTYPES.get(kind.name) if isinstance(kind, Global) else None
    if dtype is None or not isinstance(storage, Tensor):
        raise pickle.UnpicklingError("a tensor of unknown type")
    return _view(storage.view(dtype), offset, size, stride)


def _parameter(data: object, *_: object) -> object:
    return data


def _ordered_dict(pairs: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict((checked_key(key), value) for key, value in pairs)


def _counter(counts: Any = ()) -> dict[Any, Any]:
    return dict(counts) if isinstance(counts, dict) else {}


def _set(values: Any = ()) -> set[Any]:
    return {checked_key(value) for value in values}


def _encode(text: str, encoding: str = "utf-8") -> bytes:
    if encoding.lower() not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError(f"text in the encoding {encoding[:20]}")
    return str.encode(text, encoding)


def _dtype(code: Any, *_: object) -> np.dtype[Any] | StandIn:
    if not isinstance(code, str) or not _DTYPE_CODE.fullmatch(code):
        return StandIn("numpy.dtype")
    return np.dtype(code, copy=True)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    if not isinstance(dtype, np.dtype):
        return StandIn("numpy.scalar")
    raw = data.encode("latin1") if isinstance(data, str) else data
    if len(raw) != dtype.itemsize:
        raise pickle.UnpicklingError("a number of another size than its type")
    return np.frombuffer(raw, dtype)[0].item() if dtype.itemsize else None


def _empty_array(*_: object) -> np.ndarray[Any, Any]:
    return np.empty(0, np.uint8)


def _array_from(buffer: Any, dtype: Any, shape: Any, order: Any = "C", *_: object) -> np.ndarray[Any, Any]:
    return _array(bytes(buffer), dtype, shape, fortran=order == "F")


def _array(raw: Any, dtype: Any, shape: Any, *, fortran: bool) -> np.ndarray[Any, Any]:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(dtype, np.dtype) or not isinstance(raw, bytes | bytearray):
        raise pickle.UnpicklingError("an array of objects")
    if math.prod(shape) * dtype.itemsize != len(raw):
        raise pickle.UnpicklingError("an array of another size than its data")
    return np.frombuffer(bytearray(raw), dtype).reshape(shape, order="F" if fortran else "C")


def _build_array(array: np.ndarray[Any, Any], state: Any) -> None:
    _, shape, dtype, fortran, raw = state
    if not isinstance(dtype, np.dtype):
        return  # of objects: none of its elements is kept
    whole = _array(raw, dtype, shape, fortran=bool(fortran))
    raw = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
    array.__setstate__((1, whole.shape, whole.dtype, bool(fortran), raw))  # type: ignore[arg-type]


def _build_dtype(dtype: np.dtype[Any], state: Any) -> None:
    order = state[1]
    if order in ("<", ">", "|", "=") and dtype.fields is None and dtype.kind in _NUMBERS:
        dtype.__setstate__((3, order, None, None, None, -1, -1, 0))  # type: ignore[attr-defined]


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    return tuple(numbers)


def _text(*parts: Any) -> str:
    return "/".join(str(part) for part in parts)


def _everywhere(modules: tuple[str, ...], names: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {f"{module}.{name}": maker for module in modules for name, maker in names.items()}


MAKERS: Makers = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.Size": _size,
    "torch.device": _text,
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _counter,
    "collections.Counter": _counter,
    "_codecs.encode": _encode,
    **_everywhere(("builtins", "__builtin__"), {"set": _set, "frozenset": _set, "tuple": _size, "dict": _counter}),
    **_everywhere(
        ("numpy.core.multiarray", "numpy._core.multiarray"), {"_reconstruct": _empty_array, "scalar": _scalar}
    ),
    **_everywhere(("numpy.core.numeric", "numpy._core.numeric"), {"_frombuffer": _array_from}),
    "numpy.dtype": _dtype,
    **_everywhere(
        ("pathlib", "pathlib._local"),
        dict.fromkeys(("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"), _text),
    ),
}
_DTYPES = [np.dtype(code) for code in ("?", *"bhilqBHILQefdFD")]
BUILDERS: Builders = {np.ndarray: _build_array, **dict.fromkeys(map(type, _DTYPES), _build_dtype)}
