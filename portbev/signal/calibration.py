"""The radar's calibration table, read without executing code. May import: errors, description.

It is a pickled dict in a ``.npy`` file, and ``np.load(allow_pickle=True)`` runs whatever such a file asks for. The
reader here admits the names that rebuild NumPy arrays and refuses every other.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.signal.description import RadarDescription


@dataclass(frozen=True)
class Calibration:
    """What the virtual array answers to each direction.

    Attributes:
        signal: (n_az, V, n_el) complex: the conjugate of the response. Multiplied with the elements' values it adds
            them up in phase.
        window: (V,) float64 weights of the elements.
        azimuth: (n_az,) float64 degrees, positive to the left.
        elevation: (n_el,) float64 degrees.
    """

    signal: NDArray[np.complexfloating[Any, Any]]
    window: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    elevation: NDArray[np.float64]


def read_calibration(path: Path, radar: RadarDescription) -> Calibration:
    """Read ``CalibrationTable.npy``: a dict with Signal, H, Azimuth_table and Elevation_table.

    Raises:
        DataError: missing or damaged file, one that would execute code, or arrays that do not fit ``radar``.
    """
    return check_calibration(read_pickled_dict(path), radar, where=str(path))


def check_calibration(table: dict[str, Any], radar: RadarDescription, *, where: str) -> Calibration:
    """The calibration in ``table``; see :func:`read_calibration`. ``where`` names its origin in errors."""
    parts = {}
    for name in ("Signal", "H", "Azimuth_table", "Elevation_table"):
        value = table.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in ("fciu" if name == "Signal" else "fiu"):
            what = f"{name!r} is missing" if value is None else f"{name!r} is no array of numbers"
            raise DataError(f"{what} in the calibration table", where=where)
        parts[name] = value
    signal, window = parts["Signal"], parts["H"]
    azimuth, elevation = parts["Azimuth_table"].ravel(), parts["Elevation_table"].ravel()
    expected = (len(azimuth), radar.virtual, len(elevation))
    if signal.shape != expected:
        what = f"(azimuths {expected[0]}, elements {expected[1]}, elevations {expected[2]})"
        raise DataError(f"'Signal' has shape {signal.shape}, expected {what}", where=where)
    if window.ndim != 2 or not len(window) or window.shape[1] != radar.virtual:
        raise DataError(f"'H' has shape {window.shape}, expected (1, {radar.virtual})", where=where)
    if len(azimuth) == 0 or len(elevation) <= radar.road_elevation:
        what = f"{len(azimuth)} azimuths and {len(elevation)} elevations"
        raise DataError(f"{what}, expected at least 1 and {radar.road_elevation + 1}", where=where)
    for name, value in parts.items():
        if not np.isfinite(value).all():
            raise DataError(f"{name!r} holds values that are not finite", where=where)
    single = signal.dtype in (np.complex64, np.float32)
    return Calibration(
        np.ascontiguousarray(signal, np.complex64 if single else np.complex128),
        np.array(window[0], np.float64),
        azimuth.astype(np.float64),
        elevation.astype(np.float64),
    )


def read_pickled_dict(path: Path) -> dict[str, Any]:
    """The dict that was saved with ``np.save(path, dict)``. Arrays, numbers and texts are all it may hold.

    Raises:
        DataError: missing or damaged file, another content, or one that would execute code.
    """
    where = str(path)
    try:
        with open(path, "rb") as handle:
            shape = _header(handle, where)
            loaded = _Unpickler(handle).load()
    except FileNotFoundError as error:
        raise DataError("no such file", where=where) from error
    except _CodeError as error:
        cure = "Save it anew as a dict of NumPy arrays"
        raise DataError(
            f"not read, because it would execute code: it asks for {error}", where=where, cure=cure
        ) from None
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises nearly anything
        raise DataError(f"damaged: {type(error).__name__}: {error}", where=where) from error
    content = loaded.item() if isinstance(loaded, np.ndarray) and loaded.shape == shape == () else loaded
    if not isinstance(content, dict):
        raise DataError(f"holds a {type(content).__name__}, expected a dict", where=where)
    return content


def _header(handle: IO[bytes], where: str) -> tuple[int, ...]:
    """Read past the .npy header; the shape it states."""
    version = np.lib.format.read_magic(handle)
    read: Callable[[IO[bytes]], Any] = (
        np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(handle)
    if dtype != np.dtype(object):
        raise DataError(f"holds an array of {dtype}, expected a pickled dict", where=where)
    return tuple(shape)


class _CodeError(Exception):
    """A name that a pickle asks for and that is not admitted."""


class _Unpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays, scalars and dtypes, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        admitted = _ADMITTED.get((module.replace("numpy.core.", "numpy._core."), name))
        if admitted is None:
            raise _CodeError(f"{module}.{name}")
        return admitted


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> NDArray[Any]:
    """``numpy.core.multiarray._reconstruct``: the empty array that the pickle's state is put into."""
    if kind is not np.ndarray:
        raise _CodeError(f"an array of type {kind!r}")
    return np.ndarray.__new__(np.ndarray, shape, code)  # type: ignore[call-overload, no-any-return]


def _from_bytes(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> NDArray[Any]:
    """``numpy.core.numeric._frombuffer``: how protocol 5 stores a contiguous array."""
    return np.frombuffer(data, dtype=dtype).reshape(shape, order=order)


def _scalar(dtype: np.dtype[Any], data: bytes) -> Any:
    """``numpy.core.multiarray.scalar``; one of objects would need a pickle of its own."""
    if dtype.hasobject:
        raise _CodeError("a scalar of objects")
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _latin1(text: str, encoding: str) -> bytes:
    """``_codecs.encode``: how protocols before 3 store bytes."""
    if encoding != "latin1":
        raise _CodeError(f"the codec {encoding!r}")
    return text.encode("latin1")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("numpy._core.numeric", "_frombuffer"): _from_bytes,
    ("_codecs", "encode"): _latin1,
}
