"""Dicts of arrays that were saved with ``np.save``, read without executing code.

``np.load(allow_pickle=True)`` runs whatever the file asks for, and even NumPy's own reconstruction believes what a
pickle says of its memory. Here the names that rebuild arrays stand for plain records, from which the arrays are made
afterwards; every other name is refused.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from portbev.errors import DataError


def read_pickled_dict(path: Path) -> dict[str, Any]:
    """The dict that was saved with ``np.save(path, dict)``. It holds arrays, numbers, texts, lists and dicts of them.

    Raises:
        DataError: missing or damaged file, another content, or one that would execute code.
    """
    where = str(path)
    try:
        with open(path, "rb") as handle:
            _skip_header(handle, where)
            content = _settled(_Unpickler(handle).load())
    except FileNotFoundError as error:
        raise DataError("no such file", where=where) from error
    except _RefusedError as error:
        cure = "Save it anew as a dict of NumPy arrays of numbers"
        raise DataError(
            f"not read, because it could execute code: it asks for {error}", where=where, cure=cure
        ) from None
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"damaged: {type(error).__name__}: {error}", where=where) from error
    if isinstance(content, np.ndarray) and content.shape == ():
        content = content.item()
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__}, expected a dict", where=where)
    return content


def _skip_header(handle: IO[bytes], where: str) -> None:
    """Read past the .npy header, which must announce a pickle."""
    version = np.lib.format.read_magic(handle)
    read: Callable[[IO[bytes]], Any] = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    dtype = read(handle)[2]
    if dtype != np.dtype(object):
        raise DataError(f"holds an array of {dtype}, expected a pickled dict", where=where)


class _RefusedError(Exception):
    """Something that a pickle asks for and that is not admitted."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        admitted = _ADMITTED.get((module.replace("numpy.core.", "numpy._core."), name))
        if admitted is None:
            raise _RefusedError(f"{module}.{name}")
        return admitted


class _Dtype:
    """Stands for ``numpy.dtype``."""

    def __init__(self, code: str, align: bool = False, copy: bool = True) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in "biufcSUO":
            raise _RefusedError(f"an array of {self.dtype}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array that its state has not been put into yet."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def build(self) -> np.ndarray[Any, Any]:
        _, shape, kind, fortran, data = self.state
        if kind.dtype.kind != "O":
            return _from_bytes(data, kind, shape, "F" if fortran else "C")
        if not isinstance(data, list) or len(data) != math.prod(shape):
            raise ValueError(f"{len(data)} objects for an array of shape {shape}")
        flat = np.empty(len(data), object)
        for i, value in enumerate(data):
            flat[i] = _settled(value)
        return flat.reshape(shape, order="F" if fortran else "C")


def _empty_array(kind: Any, shape: Any, code: Any) -> _Array:
    """``numpy.core.multiarray._reconstruct``."""
    if kind is not _NDARRAY:
        raise _RefusedError(f"an array of type {kind!r}")
    return _Array()


def _from_bytes(data: Any, kind: _Dtype, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """``numpy.core.numeric._frombuffer``: how protocol 5 stores a contiguous array."""
    if kind.dtype.hasobject:
        raise _RefusedError("objects made of bytes")
    return np.frombuffer(data, dtype=kind.dtype).reshape(shape, order=order).copy(order="K")


def _scalar(kind: _Dtype, data: bytes) -> Any:
    """``numpy.core.multiarray.scalar``."""
    return _from_bytes(data, kind, (), "C")[()]


def _latin1(text: str, encoding: str) -> bytes:
    """``_codecs.encode``: how protocols before 3 store bytes."""
    if encoding != "latin1":
        raise _RefusedError(f"the codec {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """``bytes()``: how protocols before 3 store none."""
    return b""


def _settled(value: Any) -> Any:
    """``value`` with arrays for the records that stand for them."""
    if isinstance(value, _Array):
        return value.build()
    if isinstance(value, dict):
        return {key: _settled(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_settled(part) for part in value)
    return value


_NDARRAY = object()  # named by pickles of arrays, never called

_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Dtype,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_bytes,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
}
