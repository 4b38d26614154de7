"""The antennas of the generated radar, and its calibration table.

12 transmitters in two rows of six and 16 receivers in a line make 192 virtual elements: two rows of 96 elements, half a
wavelength apart. Each element adds an unknown phase, which the calibration table compensates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

TRANSMITTERS, RECEIVERS = 12, 16
ROWS_APART = 1.5
"""Wavelengths between the two rows of transmitters; elevation is unambiguous from -19 to 19 degrees."""
AZIMUTH_LIMIT, ELEVATION_LIMIT = 75.0, 5.0


@dataclass(frozen=True)
class Antenna:
    """The virtual array; element v = transmitter * 16 + receiver.

    Attributes:
        across: (192,) position to the left of the middle, in wavelengths.
        above: (192,) position above the lower row, in wavelengths.
        phase: (192,) phase error of each element, radians.
    """

    across: Array
    above: Array
    phase: Array

    def steering(self, azimuth: Array, elevation: Array) -> Complex:
        """Steering vectors (..., 192) of waves from directions (...) in radians, without the phase errors.

        Azimuth is positive to the left (atan2(y, x) of the radar frame), elevation is positive upwards.
        """
        left = np.sin(azimuth)[..., None] * np.cos(elevation)[..., None] * self.across
        up = np.sin(elevation)[..., None] * self.above
        return np.asarray(np.exp(2j * np.pi * (left + up)))

    def response(self, azimuth: Array, elevation: Array) -> Complex:
        """Responses (..., 192) of the elements: steering vectors with the phase errors."""
        return self.steering(azimuth, elevation) * np.exp(1j * self.phase)


def build_antenna(seed: int) -> Antenna:
    """The antenna of a data set; the phase errors depend on the seed."""
    transmitter, receiver = np.divmod(np.arange(TRANSMITTERS * RECEIVERS), RECEIVERS)
    across = 0.5 * (receiver + RECEIVERS * (transmitter // 2))
    phase = generator(seed, "synth radial", "antenna").uniform(-np.pi, np.pi, len(across))
    return Antenna(across - across.mean(), ROWS_APART * (transmitter % 2), phase)


def calibration_table(antenna: Antenna, azimuths: int, elevations: int) -> dict[str, NDArray[np.generic]]:
    """The calibration in the layout of ``CalibrationTable.npy``.

    Signal (azimuths, 192, elevations) complex64 is the conjugate of the response: multiplied with the samples of the
    elements it aligns their phases. H (1, 192) is a Hamming window over the positions of the elements. The tables of
    azimuths and elevations are in degrees.
    """
    azimuth = np.linspace(-AZIMUTH_LIMIT, AZIMUTH_LIMIT, azimuths)
    elevation = _elevations(elevations)
    a, e = np.meshgrid(np.deg2rad(azimuth), np.deg2rad(elevation), indexing="ij")
    signal = np.conj(antenna.response(a, e)).transpose(0, 2, 1).astype(np.complex64)
    position = (antenna.across - antenna.across.min()) / np.ptp(antenna.across)
    window = (0.54 - 0.46 * np.cos(2 * np.pi * position))[None]
    return {"Signal": signal, "H": window, "Azimuth_table": azimuth, "Elevation_table": elevation}


def _elevations(count: int) -> Array:
    """Elevations in degrees; as in RADIal's table, the one at index 5 is 0, parallel to the road."""
    if count == 11:
        return np.linspace(-ELEVATION_LIMIT, ELEVATION_LIMIT, 11)
    return np.asarray((np.arange(count) - 5) * (ELEVATION_LIMIT / max(5, count - 6)), np.float64)
