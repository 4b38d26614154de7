"""The original's ``results_3d.npy``, read without executing code.

The file is a pickled object array: one array (n, 8) per frame. Unpickling can run anything, so here nothing that the
file names is ever called: the few names that arrays are made of stand for records of ours, which hold the bytes, and
arrays are built from those bytes where the dtype is one of numbers. Anything else is refused.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import ResultsError
from portbev_radial.metrics.boxes import FrameBoxes, frame_boxes

_NUMBERS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}
_CURE = "Save a list of (n, 8) NumPy arrays as portbev.radial/1 with portbev_radial.metrics.write_boxes"


def read_original(path: Path | str, frames: Sequence[str]) -> FrameBoxes:
    """Read ``results_3d.npy``.

    Args:
        frames: names of its frames, in its order.

    Raises:
        ResultsError: missing or damaged file; one that holds other things than arrays of numbers; another number of
            frames; a box that cannot be scored.
    """
    path = Path(path)
    try:
        arrays = _load(path)
    except OSError as error:
        raise ResultsError(f"cannot read the results ({error.strerror})", where=str(path)) from error
    if len(arrays) != len(frames):
        what = f"results of {len(arrays)} frames, but the ground truth has {len(frames)}"
        raise ResultsError(what, where=str(path), cure="Evaluate on the split that was predicted")
    try:
        return frame_boxes(arrays, tuple(frames), scored=True)
    except ResultsError as error:
        raise ResultsError(error.what, where=f"{path}: {error.where}", cure=error.cure) from error


def _load(path: Path) -> list[Any]:
    with path.open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read_header[version](file)
            if not dtype.hasobject:
                file.seek(0)
                return list(np.load(file, allow_pickle=False))
            return _frames(_Reader(file).load(), shape)
        except ResultsError as error:
            raise ResultsError(error.what, where=str(path), cure=error.cure) from error
        except OSError:
            raise
        except Exception as error:  # a damaged pickle raises nearly anything
            raise ResultsError(f"not a readable .npy file ({error})", where=str(path), cure=_CURE) from error


def _frames(loaded: Any, shape: tuple[int, ...]) -> list[Any]:
    """One array per frame. Frames of equally many boxes make one object array (F, n, 8) of single numbers."""
    if not isinstance(loaded, _Array) or not isinstance(loaded.content, list) or loaded.size != len(loaded.content):
        raise _refused("is no array of objects")
    if math.prod(shape) != loaded.size:
        raise _refused(f"says shape {shape}, but holds {loaded.size} objects")
    values = [_plain(value) for value in loaded.content]
    if len(shape) == 1:
        return [np.asarray(value) for value in values]
    return list(np.array(values, np.float64).reshape(shape))


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.numbers()
    if isinstance(value, (int, float, np.generic)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    raise _refused(f"holds a {type(value).__name__}")


class _Kind:
    """A dtype, by its name alone."""

    def __init__(self, name: object = "", *_: object) -> None:
        self.name = str(name)
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "<"

    def dtype(self) -> np.dtype[Any]:
        if self.name not in _NUMBERS:
            raise _refused(f"holds values of type {self.name!r}")
        return np.dtype(self.order + self.name)


class _Array:
    """What a pickle says of an array: shape, dtype, order and bytes, or a list of objects."""

    shape: tuple[int, ...] = (0,)
    kind = _Kind("f8")
    fortran = False
    content: Any = b""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.kind, self.fortran, self.content = state

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def numbers(self) -> NDArray[Any]:
        if not isinstance(self.kind, _Kind) or not isinstance(self.content, (bytes, bytearray)):
            raise _refused("holds an array of objects inside a frame")
        flat = np.frombuffer(self.content, self.kind.dtype())
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


class _Buffer(_Array):
    """An array as pickle protocol 5 writes it."""

    def __init__(self, content: object, kind: object, shape: tuple[int, ...], order: str = "C") -> None:
        self.__setstate__((1, shape, kind, order == "F", content))


class _Scalar:
    """A single number. A class, not a function: a pickle can set attributes of a function."""

    def __new__(cls, kind: object, content: object) -> Any:
        if not isinstance(kind, _Kind) or not isinstance(content, bytes):
            raise _refused("holds a value that is no number")
        return np.frombuffer(content, kind.dtype())[0]

    def __setstate__(self, state: object) -> None:
        raise _refused("holds a value that is no number")


class _Bytes:
    """Bytes that old pickle protocols write as text."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> Any:
        if not isinstance(text, str) or encoding != "latin1":
            raise _refused(f"holds bytes encoded as {encoding!r}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise _refused("holds bytes with attributes")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _Bytes,
}
_NAMES["__builtin__", "bytes"] = _NAMES["builtins", "bytes"] = _Bytes  # of an empty array
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _NAMES[_module, "_reconstruct"] = _Array
    _NAMES[_module, "scalar"] = _Scalar
for _module in ("numpy.core.numeric", "numpy._core.numeric"):
    _NAMES[_module, "_frombuffer"] = _Buffer


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise _refused(f"holds {module}.{name}, which is not read because it could execute code")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _refused("refers to objects outside the file")


def _refused(what: str) -> ResultsError:
    return ResultsError(what, cure=_CURE)
