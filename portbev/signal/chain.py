"""The radar chain: from the chips' samples to range, Doppler, azimuth and points. May import: this package, errors.

raw -> ADC -> RT (range) -> RD (range, Doppler) -> RA (range, azimuth)
                                                -> PC (points)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from portbev.errors import DataError, nearest
from portbev.signal import cfar, directions, mimo, spectra
from portbev.signal.calibration import Calibration
from portbev.signal.description import RadarDescription

PRODUCTS = ("ADC", "RT", "RD", "RA", "PC")


class RadarChain:
    """RADIal's signal processing, batched over frames, on the device of the samples.

    Args:
        radar: the radar.
        calibration: needed for RA and PC only.
        dtype: complex128 (as the original) or complex64 (fast).
        device: where constants are kept; the samples must be there too.
        workspace: bytes of buffers for RA and PC: near the size of the cache on a CPU, more on an accelerator.

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
        workspace: int = 8 << 20,
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
        return spectra.remove_dc(spectra.decode(raw, self.radar, self.dtype))

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
        made: dict[str, Tensor | list[Tensor]] = {}
        made["ADC"] = frame = self.adc(raw)
        if set(wanted) - {"ADC"}:
            made["RT"] = frame = self.range_spectrum(frame)
        if set(wanted) - {"ADC", "RT"}:
            made["RD"] = frame = self.doppler_spectrum(frame)
        if "RA" in wanted:
            made["RA"] = self.range_azimuth(frame)
        if "PC" in wanted:
            made["PC"] = self.point_cloud(frame)
        return {name: made[name] for name in wanted}

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


def sum_amplitudes(rd: Tensor) -> Tensor:
    """(B,S,C) amplitudes of ``rd`` (B,S,C,A), added up over the antennas one after the other."""
    total = rd[..., 0].abs()
    for antenna in range(1, rd.shape[3]):
        total += rd[..., antenna].abs()
    return total
