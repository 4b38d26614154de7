"""Reads dicts of arrays that were saved with ``np.save``, without executing code.

``np.load(allow_pickle=True)`` runs any code that the file asks for, and even NumPy's own reconstruction of arrays
trusts what a pickle says about memory. Here the names with which a pickle rebuilds arrays create plain records, from
which the arrays are built afterwards. Every other name is refused.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from portbev.errors import DataError
from portbev.paths import DataPath


def read_pickled_dict(path: DataPath) -> dict[str, Any]:
    """The dict that was saved with ``np.save(path, dict)``. It may hold arrays, numbers, texts, lists and dicts.

    Raises:
        DataError: the file is missing or damaged, holds something else, or would execute code.
    """
    where = str(path)
    try:
        with path.open("rb") as handle:
            _skip_header(handle, where)
            content = _build_arrays(_Unpickler(handle).load())
    except FileNotFoundError as error:
        raise DataError("no such file", where=where) from error
    except _RefusedError as error:
        cure = "Save it anew as a dict of NumPy arrays of numbers"
        raise DataError(
            f"not read, because it could execute code: it asks for {error}", where=where, cure=cure
        ) from None
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise almost any exception
        raise DataError(f"damaged: {type(error).__name__}: {error}", where=where) from error
    if isinstance(content, np.ndarray) and content.shape == ():
        content = content.item()
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__}, expected a dict", where=where)
    return content


def _skip_header(handle: IO[bytes], where: str) -> None:
    """Read past the .npy header, which must announce a pickle."""
    version = np.lib.format.read_magic(handle)
    read_header: Callable[[IO[bytes]], Any] = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    dtype = read_header(handle)[2]
    if dtype != np.dtype(object):
        raise DataError(f"holds an array of {dtype}, expected a pickled dict", where=where)


class _RefusedError(Exception):
    """A pickle asks for something that is not allowed."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module.replace("numpy.core.", "numpy._core."), name))
        if allowed is None:
            raise _RefusedError(f"{module}.{name}")
        return allowed


class _Dtype:
    """Replaces ``numpy.dtype``."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufcSUO":
            raise _RefusedError(f"an array of {self.dtype}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """The record of an array: its state as the pickle holds it."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def build(self) -> np.ndarray[Any, Any]:
        _, shape, dtype, fortran, data = self.state
        if dtype.dtype.kind != "O":
            return _from_bytes(data, dtype, shape, "F" if fortran else "C")
        if not isinstance(data, list) or len(data) != math.prod(shape):
            raise ValueError(f"{len(data)} objects for an array of shape {shape}")
        flat = np.empty(len(data), object)
        for i, value in enumerate(data):
            flat[i] = _build_arrays(value)
        return flat.reshape(shape, order="F" if fortran else "C")


def _empty_array(array_type: Any, shape: Any, code: Any) -> _Array:
    """Replaces ``numpy.core.multiarray._reconstruct``."""
    if array_type is not _NDARRAY:
        raise _RefusedError(f"an array of type {array_type!r}")
    return _Array()


def _from_bytes(data: Any, dtype: _Dtype, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """Replaces ``numpy.core.numeric._frombuffer``, with which protocol 5 stores a contiguous array."""
    if dtype.dtype.hasobject:
        raise _RefusedError("objects made of bytes")
    return np.frombuffer(data, dtype=dtype.dtype).reshape(shape, order=order).copy(order="K")


def _scalar(dtype: _Dtype, data: bytes) -> Any:
    """Replaces ``numpy.core.multiarray.scalar``."""
    return _from_bytes(data, dtype, (), "C")[()]


def _latin1(text: str, encoding: str) -> bytes:
    """Replaces ``_codecs.encode``, with which protocols before 3 store bytes."""
    if encoding != "latin1":
        raise _RefusedError(f"the codec {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Replaces ``bytes``, with which protocols before 3 store an empty value."""
    return b""


def _build_arrays(value: Any) -> Any:
    """``value`` with every record of an array replaced by the array."""
    if isinstance(value, _Array):
        return value.build()
    if isinstance(value, dict):
        return {key: _build_arrays(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_build_arrays(part) for part in value)
    return value


_NDARRAY = object()  # replaces numpy.ndarray, which pickles of arrays name but never call

_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_bytes,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
}
