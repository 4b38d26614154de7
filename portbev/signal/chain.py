"""The radar chain: from the chips' samples to range, Doppler, azimuth and points.

raw -> ADC -> RT (range) -> RD (range, Doppler) -> RA (range, azimuth)
                                                -> PC (points)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from portbev.errors import DataError, nearest
from portbev.signal import cfar, directions, mimo, spectra
from portbev.signal.calibration import Calibration
from portbev.signal.description import RadarDescription

SPECTRA = ("ADC", "RT", "RD")
PRODUCTS = (*SPECTRA, "RA", "PC")
_GROUP_BYTES = 4 << 20  # of antennas transformed together: larger buffers are given back to the system and cleared anew


class RadarChain:
    """RADIal's signal processing, batched over frames, on the device of the samples.

    Args:
        radar: the radar.
        calibration: needed for RA and PC only.
        dtype: complex128 (as the original) or complex64 (fast).
        device: where constants are kept; the samples must be there too.
        workspace: bytes of buffers for RA and PC: 64 MiB suit a CPU, an accelerator takes more.

    Raises:
        ValueError: another dtype.
    """

    def __init__(
        self,
        radar: RadarDescription,
        calibration: Calibration | None = None,
        *,
        dtype: torch.dtype = torch.complex128,
        device: torch.device | str = "cpu",
        workspace: int = 64 << 20,
    ) -> None:
        if dtype not in (torch.complex64, torch.complex128):
            raise ValueError(f"RadarChain: dtype is complex64 or complex128, not {dtype}")
        self.radar, self.dtype, self.device, self.workspace = radar, dtype, torch.device(device), workspace
        self._calibration = calibration

    @property
    def real_dtype(self) -> torch.dtype:
        """float64 or float32."""
        return torch.float64 if self.dtype == torch.complex128 else torch.float32

    def adc(self, raw: Tensor) -> Tensor:
        """(B,S,C,A) complex samples without DC, from ``raw`` (B, chips, values_per_chip) int16."""
        return self._spectra(raw, ["ADC"])["ADC"]

    def range_spectrum(self, adc: Tensor) -> Tensor:
        """RT (B,S,C,A) from ADC."""
        return spectra.range_spectrum(adc, self._range_window)

    def doppler_spectrum(self, rt: Tensor) -> Tensor:
        """RD (B,S,C,A) from RT."""
        return spectra.doppler_spectrum(rt, self._doppler_window)

    def range_azimuth(self, rd: Tensor) -> Tensor:
        """RA (B,S,n_az) real from RD."""
        return directions.range_azimuth(rd, self._beams, self.radar, self.workspace)

    @torch.no_grad()
    def point_cloud(self, rd: Tensor) -> list[Tensor]:
        """PC from RD: (n,4) float64 for each frame.

        Columns are range [m], Doppler bin of the first transmitter, azimuth and elevation [rad]. Points are
        in order of range bin and reduced Doppler bin.
        """
        amplitude = sum_amplitudes(rd)
        reduced = cfar.reduce_doppler(amplitude, self.radar)
        frames, ranges, dopplers = cfar.cfar(reduced, self.radar).nonzero(as_tuple=True)
        levels = amplitude.unflatten(2, (self.radar.doppler_slots, self.radar.reduced_doppler))
        slot = mimo.first_transmitter_slot(levels[frames, ranges, :, dopplers], self.radar)
        first = slot * self.radar.reduced_doppler + dopplers
        elements = mimo.virtual_array(rd, frames, ranges, first, self.radar)
        best, _ = directions.strongest(elements, self._directions, self.workspace)
        distance = ranges.double() / self.radar.samples * self.radar.range_max
        angles = self._directions.angles[best]
        points = torch.stack([distance, first.double(), angles[:, 0], angles[:, 1]], 1)
        return [points[frames == frame] for frame in range(len(rd))]

    def products(self, raw: Tensor, names: Iterable[str]) -> dict[str, Tensor | list[Tensor]]:
        """What ``names`` asks for out of ADC, RT, RD, RA and PC; shared steps are done once.

        Raises:
            DataError: an unknown name, samples of another shape, or RA or PC without a calibration.
        """
        wanted = list(names)
        for name in wanted:
            if name not in PRODUCTS:
                raise DataError(f"unknown radar product {name!r}", cure=nearest(name, PRODUCTS))
        spectra_wanted = [name for name in SPECTRA if name in wanted]
        if {"RA", "PC"} & set(wanted) and "RD" not in wanted:
            spectra_wanted.append("RD")
        made: dict[str, Tensor | list[Tensor]] = {}
        for name, spectrum in self._spectra(raw, spectra_wanted).items():
            made[name] = spectrum
            if name == "RD" and "RA" in wanted:
                made["RA"] = self.range_azimuth(spectrum)
            if name == "RD" and "PC" in wanted:
                made["PC"] = self.point_cloud(spectrum)
        return {name: made[name] for name in wanted}

    def _spectra(self, raw: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """ADC, RT and RD (B,S,C,A), a few antennas at a time: what lies between is small and stays in the cache."""
        spectra.check_raw(raw, self.radar)
        out = {name: self._room(name, len(raw)) for name in names}
        steps = SPECTRA[: max((SPECTRA.index(name) + 1 for name in names), default=0)]
        for frame in range(len(raw)):
            for place, chip in enumerate(self.radar.chip_order):
                for receivers in self._groups:
                    values = spectra.decode_chip(raw[frame : frame + 1, chip], self.radar, self.dtype, receivers)
                    start = place * self.radar.rx_per_chip
                    antennas = slice(start + receivers.start, start + receivers.stop)
                    for step in steps:
                        values = self._step(step, values)
                        if step in out:
                            out[step][frame, :, :, antennas] = values[0]
        return out

    def _step(self, name: str, values: Tensor) -> Tensor:
        if name == "ADC":
            return spectra.remove_dc(values, inplace=True)
        if name == "RT":
            return spectra.range_spectrum(values, self._range_window, inplace=True)
        return spectra.doppler_spectrum(values, self._doppler_window, inplace=True)

    @property
    def _groups(self) -> list[slice]:
        """Receivers of a chip that are transformed together."""
        plane = self.radar.samples * self.radar.chirps * self.dtype.itemsize
        count, whole = max(1, _GROUP_BYTES // plane), self.radar.rx_per_chip
        return [slice(start, min(start + count, whole)) for start in range(0, whole, count)]

    def _room(self, name: str, frames: int) -> Tensor:
        """(B,S,C,A) uninitialised: antennas outermost, the axis that was transformed last innermost."""
        radar = self.radar
        sizes = (radar.samples, radar.chirps) if name == "RD" else (radar.chirps, radar.samples)
        room = _empty((frames, radar.receivers, *sizes), self.dtype, self.device)
        return room.permute(0, 2, 3, 1) if name == "RD" else room.permute(0, 3, 2, 1)

    @cached_property
    def _range_window(self) -> Tensor:
        return spectra.hamming(self.radar.samples, self.real_dtype, self.device)

    @cached_property
    def _doppler_window(self) -> Tensor:
        return spectra.hamming(self.radar.chirps, self.real_dtype, self.device)

    @cached_property
    def _beams(self) -> directions.AzimuthBeams:
        return directions.azimuth_beams(self._table, self.radar, self.real_dtype, self.device)

    @cached_property
    def _directions(self) -> directions.Directions:
        return directions.directions(self._table, self.radar, self.real_dtype, self.device)

    @property
    def _table(self) -> Calibration:
        if self._calibration is None:
            raise DataError("azimuths need the radar's calibration table (CalibrationTable.npy)")
        return self._calibration


def _empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    # NumPy asks the system for huge pages and torch does not: a fifth of a frame's time would go into small ones.
    return torch.from_numpy(np.empty(shape, np.complex128 if dtype == torch.complex128 else np.complex64))


def sum_amplitudes(rd: Tensor) -> Tensor:
    """(B,S,C) amplitudes of ``rd`` (B,S,C,A), added up over the antennas one after the other."""
    total = rd[..., 0].abs()
    for antenna in range(1, rd.shape[3]):
        total += rd[..., antenna].abs()
    return total
