"""The generated radar's samples: FMCW chirps of all transmitters at once (DDM).

Within a frame targets keep their range (stop and hop): neither range migration nor range-Doppler coupling is modelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from portbev_radial.synth.antenna import RECEIVERS, TRANSMITTERS, Antenna
from portbev_radial.synth.echoes import Echoes

if TYPE_CHECKING:
    from portbev.signal.description import RadarDescription

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

WAVELENGTH = 299_792_458.0 / 77e9
"""Metres."""
FRAME_SPEED = 25.6
"""m/s that the Doppler bins of a frame span before they repeat: 0.1 m/s a bin for 256 chirps."""
CHIPS_IN_FRAME = (3, 0, 1, 2)
"""Chip of receivers 0-3, 4-7, 8-11, 12-15."""

_GAIN = 4000.0  # counts of a square metre at one metre
_DC = 3.0 - 2.0j


def range_bin(distance: Array, samples: int, range_max: float) -> Array:
    """Bin of the range transform, a fraction."""
    return distance / range_max * samples


def doppler_bin(speed: Array, chirps: int) -> Array:
    """Bin of the first transmitter's Doppler, in [0, chirps), of speeds away from the radar."""
    return -speed / FRAME_SPEED * chirps % chirps


def simulate(
    echoes: Echoes, antenna: Antenna, radar: RadarDescription, noise: float, rng: np.random.Generator
) -> NDArray[np.int16]:
    """(4, 2 * samples * 4 * chirps) int16: what chips 0 to 3 write, I and Q interleaved; sample, receiver, chirp.

    Args:
        echoes: what scatters. Amplitudes fall with the square of the distance; what is out of reach is filtered away.
        antenna: the elements.
        radar: sizes, reach and Doppler slots.
        noise: standard deviation of I and of Q, counts.
        rng: of the noise.
    """
    samples, chirps = radar.samples, radar.chirps
    distance = np.linalg.norm(echoes.points, axis=1)
    seen = (distance > 0.5) & (distance < radar.range_max)
    points, distance = echoes.points[seen], distance[seen]
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    elevation = np.arcsin(points[:, 2] / distance)
    amplitude = _GAIN * np.sqrt(echoes.area[seen]) / distance**2 * _pattern(azimuth, elevation)
    phase = echoes.phase[seen] - 4 * np.pi * distance / WAVELENGTH
    wave = (amplitude * np.exp(1j * phase))[:, None] * antenna.response(azimuth, elevation)
    fast = _tone(range_bin(distance, samples, radar.range_max), samples)
    slot = np.asarray(radar.slots, np.float64) * (chirps // radar.doppler_slots)
    bins = doppler_bin(echoes.speed[seen], chirps)[:, None] + slot
    slow = _tone(bins, chirps)  # (K, transmitters, chirps)
    by_receiver = np.einsum("ktr,ktc->kcr", wave.reshape(-1, TRANSMITTERS, RECEIVERS), slow)
    frame = fast.T @ by_receiver.reshape(len(points), chirps * RECEIVERS)
    frame = frame.reshape(samples, chirps, RECEIVERS) + _DC
    frame.real += rng.normal(0, noise, frame.shape)
    frame.imag += rng.normal(0, noise, frame.shape)
    return _quantise(frame)


def noise_level(noise: float, samples: int, chirps: int) -> float:
    """Noise that leaves a smaller frame the signal-to-noise ratio of 512 x 256 samples after both transforms."""
    return noise * float(np.sqrt(samples * chirps / (512 * 256)))


def _pattern(azimuth: Array, elevation: Array) -> Array:
    """Gain of the antennas, both ways; nothing comes from behind."""
    return np.clip(np.cos(azimuth), 0, None) ** 2 * np.exp(-((elevation / np.deg2rad(20.0)) ** 2))


def _tone(bins: Array, length: int) -> Complex:
    """(..., length) complex tones."""
    return np.asarray(np.exp(2j * np.pi * bins[..., None] * np.arange(length) / length))


def _quantise(frame: Complex) -> NDArray[np.int16]:
    counts = np.stack([frame.real, frame.imag], -1)  # sample, chirp, receiver, I/Q
    rounded = np.clip(np.rint(counts), -32768, 32767).astype(np.int16)
    chips = np.empty((4, rounded.size // 4), np.int16)
    for group, chip in enumerate(CHIPS_IN_FRAME):
        chips[chip] = rounded[:, :, 4 * group : 4 * group + 4].transpose(1, 2, 0, 3).ravel()
    return chips
