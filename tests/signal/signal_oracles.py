"""The radar chain once more, as plain loops over NumPy arrays: slow, and written from the definitions alone.

And frames to feed it with: point targets in noise, seen through an array whose elements have phases of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from portbev.signal import Calibration, RadarDescription

Array = np.ndarray[Any, Any]


def make_calibration(radar: RadarDescription, azimuths: int = 31, seed: int = 0) -> Calibration:
    """A line of elements half a wavelength apart, two rows high, with random phases."""
    azimuth, elevation = np.linspace(-75, 75, azimuths), np.linspace(-5, 5, max(7, radar.road_elevation + 1))
    element = np.arange(radar.virtual)
    phase = np.random.default_rng(seed).uniform(-np.pi, np.pi, radar.virtual)
    a, e = np.deg2rad(azimuth)[:, None, None], np.deg2rad(elevation)[None, None, :]
    across, above = 0.5 * element[None, :, None], 2.0 * (element[None, :, None] % 2)
    turns = across * np.sin(a) * np.cos(e) + above * np.sin(e)
    signal = np.exp(-1j * (2 * np.pi * turns + phase[None, :, None])).astype(np.complex64)
    return Calibration(signal, np.hamming(radar.virtual), azimuth, elevation)


def make_raw(radar: RadarDescription, calibration: Calibration, frames: int, seed: int = 0) -> Array:
    """(frames, chips, values_per_chip) int16: two to four targets each, noise and DC."""
    rng = np.random.default_rng(seed)
    fast, slow = np.arange(radar.samples), np.arange(radar.chirps)
    raw = np.empty((frames, radar.chips, radar.values_per_chip), np.int16)
    for frame in range(frames):
        shape = (radar.samples, radar.chirps, radar.receivers)
        values = 20.0 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) + (37 - 21j)
        for _ in range(rng.integers(2, 5)):
            bin_r, bin_d = rng.uniform(1, radar.samples - 1), rng.uniform(0, radar.chirps)
            az, el = rng.integers(len(calibration.azimuth)), rng.integers(len(calibration.elevation))
            response = np.conj(calibration.signal[az, :, el]).reshape(radar.transmitters, radar.receivers)
            turned = rng.uniform(20, 80) * np.exp(2j * np.pi * rng.random())
            tone = turned * np.exp(2j * np.pi * bin_r * fast / radar.samples)
            for transmitter, slot in enumerate(radar.slots):
                bins = bin_d + slot * radar.reduced_doppler
                chirp = np.exp(2j * np.pi * bins * slow / radar.chirps)
                values += tone[:, None, None] * chirp[None, :, None] * response[transmitter]
        counts = np.clip(np.rint(np.stack([values.real, values.imag], -1)), -32768, 32767).astype(np.int16)
        for place, chip in enumerate(radar.chip_order):
            own = counts[:, :, place * radar.rx_per_chip : (place + 1) * radar.rx_per_chip]
            raw[frame, chip] = own.transpose(1, 2, 0, 3).ravel()
    return raw


def adc(chips: Array, radar: RadarDescription) -> Array:
    """(S,C,A) from (chips, values)."""
    parts = []
    for chip in radar.chip_order:
        samples = chips[chip, 0::2].astype(np.float64) + 1j * chips[chip, 1::2]
        parts.append(samples.reshape((radar.samples, radar.rx_per_chip, radar.chirps), order="F").transpose(0, 2, 1))
    frame = np.concatenate(parts, 2)
    return np.asarray(frame - frame.mean((0, 1)))


def rt(frame: Array) -> Array:
    return np.fft.fft(frame * np.hamming(len(frame))[:, None, None], axis=0)


def rd(frame: Array) -> Array:
    return np.fft.fft(frame * np.hamming(frame.shape[1])[None, :, None], axis=1)


def elements(spectrum: Array, r: int, d: int, radar: RadarDescription) -> Array:
    """(V,) of a range bin and the first transmitter's Doppler bin."""
    bins = [(d + radar.reduced_doppler * (slot - radar.slots[0])) % radar.chirps for slot in radar.slots]
    return np.concatenate([spectrum[r, b] for b in bins])


def ra(spectrum: Array, calibration: Calibration, radar: RadarDescription) -> Array:
    """(S, n_az): one product per range and Doppler bin."""
    beams = calibration.signal[:, :, radar.road_elevation].astype(np.complex128)
    out = np.zeros((radar.samples, len(beams)))
    for r in range(radar.samples):
        for d in range(radar.chirps):
            out[r] += np.abs(beams @ (elements(spectrum, r, d, radar) * calibration.window))
    return out


def cfar_ratio(power: Array, radar: RadarDescription) -> Array:
    """Power over the mean of the window without its guard, cell by cell."""
    (tall, wide), (tall_guard, wide_guard) = radar.cfar_window, radar.cfar_guard
    out = np.empty_like(power)
    for r, q in np.ndindex(power.shape):
        rows = range(max(0, r - tall), min(len(power), r + tall + 1))
        columns = range(max(0, q - wide), min(power.shape[1], q + wide + 1))
        around = [(rr, qq) for rr in rows for qq in columns]
        found = [power[rr, qq] for rr, qq in around if abs(rr - r) > tall_guard or abs(qq - q) > wide_guard]
        out[r, q] = power[r, q] / np.mean(found) if found else np.nan
    return out


def hits(spectrum: Array, radar: RadarDescription) -> Array:
    """(S,Q) bool."""
    amplitude = np.abs(spectrum).sum(2)
    reduced = amplitude.reshape(radar.samples, radar.doppler_slots, radar.reduced_doppler).sum(1)
    return np.asarray(cfar_ratio(reduced**2, radar) > 10 ** (radar.cfar_threshold_db / 10))


def points(spectrum: Array, calibration: Calibration, radar: RadarDescription) -> Array:
    """(n,4) range, first Doppler bin, azimuth, elevation."""
    amplitude = np.abs(spectrum).sum(2)
    beams = calibration.signal.transpose(0, 2, 1).reshape(-1, radar.virtual).astype(np.complex128)
    rows = []
    for r, q in np.argwhere(hits(spectrum, radar)):
        levels = np.array([amplitude[r, q + radar.reduced_doppler * k] for k in range(radar.doppler_slots)])
        used = {(slot - radar.slots[0]) % radar.doppler_slots for slot in radar.slots}
        behind = [k for k in range(radar.doppler_slots) if k not in used]
        means = [np.mean([levels[(j + k) % radar.doppler_slots] for k in behind]) for j in range(radar.doppler_slots)]
        first = radar.reduced_doppler * int(np.argmin(means)) + q
        spectrum_of_hit = np.abs(beams @ (elements(spectrum, r, first, radar) * calibration.window))
        az, el = np.unravel_index(np.argmax(spectrum_of_hit), (len(calibration.azimuth), len(calibration.elevation)))
        angles = np.deg2rad(calibration.azimuth[az]), np.deg2rad(calibration.elevation[el])
        rows.append([r / radar.samples * radar.range_max, first, *angles])
    return np.array(rows).reshape(-1, 4)
