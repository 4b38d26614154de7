"""The original's ``results_3d.npy``, read without executing code.

The file is a pickled object array: one array (n, 8) per frame. Unpickling can execute any code. So no function that the
file names is called: the few names that NumPy arrays need are replaced by classes of this module, which only store the
bytes. Arrays are then built from the bytes if the dtype is numeric. Any other name is an error.
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
        path: the file.
        frames: names of its frames, in its order.

    Raises:
        ResultsError: missing or damaged file; a file with anything but arrays of numbers; another number of frames; a
            box that cannot be scored.
    """
    path = Path(path)
    try:
        arrays = _load(path)
    except OSError as error:
        raise ResultsError(f"cannot read the results ({error.strerror})", where=str(path)) from error
    if len(arrays) != len(frames):
        message = f"results of {len(arrays)} frames, but the ground truth has {len(frames)}"
        raise ResultsError(message, where=str(path), cure="Evaluate on the split that was predicted")
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
    """One array per frame. If all frames have n boxes, NumPy saves one object array (F, n, 8) of numbers."""
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


class _Dtype:
    """Stands for ``numpy.dtype``: the name and the byte order."""

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
    """Stands for ``numpy.ndarray``: shape, dtype, order, and the bytes or a list of objects."""

    shape: tuple[int, ...] = (0,)
    dtype = _Dtype("f8")
    fortran = False
    content: Any = b""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, self.shape, self.dtype, self.fortran, self.content = state

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def numbers(self) -> NDArray[Any]:
        if not isinstance(self.dtype, _Dtype) or not isinstance(self.content, (bytes, bytearray)):
            raise _refused("holds an array of objects inside a frame")
        flat = np.frombuffer(self.content, self.dtype.dtype())
        return flat.reshape(self.shape, order="F" if self.fortran else "C")


class _Buffer(_Array):
    """Stands for an array in pickle protocol 5."""

    def __init__(self, content: object, dtype: object, shape: tuple[int, ...], order: str = "C") -> None:
        self.__setstate__((1, shape, dtype, order == "F", content))


class _Scalar:
    """Stands for a NumPy scalar. It is a class because a pickle could set attributes of a function."""

    def __new__(cls, dtype: object, content: object) -> Any:
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise _refused("holds a value that is no number")
        return np.frombuffer(content, dtype.dtype())[0]

    def __setstate__(self, state: object) -> None:
        raise _refused("holds a value that is no number")


class _Bytes:
    """Stands for bytes, which old pickle protocols write as text."""

    def __new__(cls, text: str = "", encoding: str = "latin1") -> Any:
        if not isinstance(text, str) or encoding != "latin1":
            raise _refused(f"holds bytes encoded as {encoding!r}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise _refused("holds bytes with attributes")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
}
_NAMES["__builtin__", "bytes"] = _NAMES["builtins", "bytes"] = _Bytes  # of an empty array
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _NAMES[_module, "_reconstruct"] = _Array
    _NAMES[_module, "scalar"] = _Scalar
for _module in ("numpy.core.numeric", "numpy._core.numeric"):
    _NAMES[_module, "_frombuffer"] = _Buffer


class _Reader(pickle.Unpickler):
    """An unpickler that knows only the names in ``_NAMES``."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise _refused(f"holds {module}.{name}, which is not read because it could execute code")
        return _NAMES[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise _refused("refers to objects outside the file")


def _refused(message: str) -> ResultsError:
    return ResultsError(message, cure=_CURE)
