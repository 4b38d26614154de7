"""Simulation of the radar's samples: FMCW chirps of all transmitters at once (Doppler division multiplexing).

Targets keep their range within a frame (stop and hop): neither range migration nor range-Doppler coupling is modelled.
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
"""Span of unambiguous radial speeds in m/s: 0.1 m/s per Doppler bin for 256 chirps."""
CHIPS_IN_FRAME = (3, 0, 1, 2)
"""Chips of the receivers 0-3, 4-7, 8-11, 12-15."""

_GAIN = 4000.0  # amplitude in counts of a cross section of 1 m^2 at 1 m
_DC = 3.0 - 2.0j


def range_bin(distance: Array, samples: int, range_max: float) -> Array:
    """Bins of the range FFT, with fractions."""
    return distance / range_max * samples


def doppler_bin(speed: Array, chirps: int) -> Array:
    """Doppler bins of the first transmitter, with fractions, in [0, chirps); speed is positive away from the radar."""
    return -speed / FRAME_SPEED * chirps % chirps


def simulate(
    echoes: Echoes, antenna: Antenna, radar: RadarDescription, noise: float, rng: np.random.Generator
) -> NDArray[np.int16]:
    """Samples of chips 0 to 3, (4, 2 * samples * 4 * chirps) int16, I and Q interleaved.

    Args:
        echoes: the scatterers. Amplitudes fall with the square of the distance; targets out of range are dropped.
        antenna: the virtual array.
        radar: sizes, range and Doppler slots.
        noise: standard deviation of I and of Q, counts.
        rng: draws the noise.
    """
    samples, chirps = radar.samples, radar.chirps
    distance = np.linalg.norm(echoes.points, axis=1)
    in_range = (distance > 0.5) & (distance < radar.range_max)
    points, distance = echoes.points[in_range], distance[in_range]
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    elevation = np.arcsin(points[:, 2] / distance)
    amplitude = _GAIN * np.sqrt(echoes.area[in_range]) / distance**2 * _pattern(azimuth, elevation)
    phase = echoes.phase[in_range] - 4 * np.pi * distance / WAVELENGTH
    amplitudes = (amplitude * np.exp(1j * phase))[:, None] * antenna.response(azimuth, elevation)
    range_tones = _tone(range_bin(distance, samples, radar.range_max), samples)
    slot = np.asarray(radar.slots, np.float64) * (chirps // radar.doppler_slots)
    bins = doppler_bin(echoes.speed[in_range], chirps)[:, None] + slot
    doppler_tones = _tone(bins, chirps)  # (K, transmitters, chirps)
    by_receiver = np.einsum("ktr,ktc->kcr", amplitudes.reshape(-1, TRANSMITTERS, RECEIVERS), doppler_tones)
    frame = range_tones.T @ by_receiver.reshape(len(points), chirps * RECEIVERS)
    frame = frame.reshape(samples, chirps, RECEIVERS) + _DC
    frame.real += rng.normal(0, noise, frame.shape)
    frame.imag += rng.normal(0, noise, frame.shape)
    return _quantise(frame)


def noise_level(noise: float, samples: int, chirps: int) -> float:
    """Noise for which a smaller frame has the same signal-to-noise ratio after both FFTs as 512 x 256 samples."""
    return noise * float(np.sqrt(samples * chirps / (512 * 256)))


def _pattern(azimuth: Array, elevation: Array) -> Array:
    """Two-way gain of the antennas; zero behind the radar."""
    return np.clip(np.cos(azimuth), 0, None) ** 2 * np.exp(-((elevation / np.deg2rad(20.0)) ** 2))


def _tone(bins: Array, length: int) -> Complex:
    """(..., length) complex exponentials with the frequencies of ``bins`` (...)."""
    return np.asarray(np.exp(2j * np.pi * bins[..., None] * np.arange(length) / length))


def _quantise(frame: Complex) -> NDArray[np.int16]:
    """Round a frame (samples, chirps, 16) to int16 and order it as the chips write it."""
    counts = np.stack([frame.real, frame.imag], -1)  # sample, chirp, receiver, I/Q
    rounded = np.clip(np.rint(counts), -32768, 32767).astype(np.int16)
    chips = np.empty((4, rounded.size // 4), np.int16)
    for group, chip in enumerate(CHIPS_IN_FRAME):
        chips[chip] = rounded[:, :, 4 * group : 4 * group + 4].transpose(1, 2, 0, 3).ravel()
    return chips
