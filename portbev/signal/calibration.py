"""The radar's calibration table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev.signal.description import RadarDescription
from portbev.signal.pickled import read_pickled_dict

__all__ = ["Calibration", "check_calibration", "read_calibration", "read_pickled_dict"]


@dataclass(frozen=True)
class Calibration:
    """The response of the virtual array to each direction.

    Attributes:
        signal: (n_az, V, n_el) complex conjugate of the response: its product with an echo's values is in phase.
        window: (V,) float64 weights of the elements.
        azimuth: (n_az,) float64 degrees, positive to the left.
        elevation: (n_el,) float64 degrees.
    """

    signal: NDArray[np.complexfloating[Any, Any]]
    window: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    elevation: NDArray[np.float64]


def read_calibration(path: DataPath, radar: RadarDescription) -> Calibration:
    """Read ``CalibrationTable.npy``: a dict with Signal, H, Azimuth_table and Elevation_table.

    Raises:
        DataError: the file is missing or damaged or would execute code, or its arrays do not fit ``radar``.
    """
    return check_calibration(read_pickled_dict(path), radar, where=str(path))


def check_calibration(table: dict[str, Any], radar: RadarDescription, *, where: str) -> Calibration:
    """The calibration in ``table``; see :func:`read_calibration`. Errors name ``where`` as its origin."""
    arrays = {}
    for name in ("Signal", "H", "Azimuth_table", "Elevation_table"):
        value = table.get(name)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in ("fciu" if name == "Signal" else "fiu"):
            what = f"{name!r} is missing" if value is None else f"{name!r} is no array of numbers"
            raise DataError(f"{what} in the calibration table", where=where)
        arrays[name] = value
    signal, window = arrays["Signal"], arrays["H"]
    azimuth, elevation = arrays["Azimuth_table"].ravel(), arrays["Elevation_table"].ravel()
    expected = (len(azimuth), radar.virtual, len(elevation))
    if signal.shape != expected:
        what = f"(azimuths {expected[0]}, elements {expected[1]}, elevations {expected[2]})"
        raise DataError(f"'Signal' has shape {signal.shape}, expected {what}", where=where)
    if window.ndim != 2 or not len(window) or window.shape[1] != radar.virtual:
        raise DataError(f"'H' has shape {window.shape}, expected (1, {radar.virtual})", where=where)
    if len(azimuth) == 0 or len(elevation) <= radar.road_elevation:
        what = f"{len(azimuth)} azimuths and {len(elevation)} elevations"
        raise DataError(f"{what}, expected at least 1 and {radar.road_elevation + 1}", where=where)
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise DataError(f"{name!r} holds values that are not finite", where=where)
    single = signal.dtype in (np.complex64, np.float32)
    return Calibration(
        np.ascontiguousarray(signal, np.complex64 if single else np.complex128),
        np.array(window[0], np.float64),
        azimuth.astype(np.float64),
        elevation.astype(np.float64),
    )
