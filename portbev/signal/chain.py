"""The radar signal chain: range, Doppler, azimuth and points from the samples of the radar's chips.

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
# Bytes of the antennas that are transformed together. Larger buffers go back to the system and are cleared anew.
_GROUP_BYTES = 4 << 20


class RadarChain:
    """The signal processing of a DDM-MIMO FMCW radar, batched over frames, on the device of the samples.

    The steps are those of RADIal's rpl.py (Rebut et al., CVPR 2022).

    Args:
        radar: the radar.
        calibration: needed for RA and PC only.
        dtype: complex128 (as in the original) or complex64 (faster).
        device: device of the constants; the samples must be on it too.
        workspace: size of the buffers for RA and PC in bytes. 64 MiB suit a CPU; an accelerator is faster with more.

    Raises:
        ValueError: ``dtype`` is neither complex64 nor complex128.
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
        """The real dtype that belongs to ``dtype``: float64 or float32."""
        return torch.float64 if self.dtype == torch.complex128 else torch.float32

    def adc(self, raw: Tensor) -> Tensor:
        """ADC (B,S,C,A), complex samples without their mean, from ``raw`` (B, chips, values_per_chip) int16."""
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
        """PC from RD: for each frame (n,4) float64.

        Columns are range [m], Doppler bin of the first transmitter, azimuth and elevation [rad]. Points are sorted by
        range bin and reduced Doppler bin.
        """
        amplitude = sum_amplitudes(rd)
        reduced = cfar.reduce_doppler(amplitude, self.radar)
        frames, ranges, dopplers = cfar.cfar(reduced, self.radar).nonzero(as_tuple=True)
        by_slot = amplitude.unflatten(2, (self.radar.doppler_slots, self.radar.reduced_doppler))
        slot = mimo.first_transmitter_slot(by_slot[frames, ranges, :, dopplers], self.radar)
        first = slot * self.radar.reduced_doppler + dopplers
        elements = mimo.virtual_array(rd, frames, ranges, first, self.radar)
        strongest, _ = directions.strongest_directions(elements, self._directions, self.workspace)
        distance = ranges.double() / self.radar.samples * self.radar.range_max
        angles = self._directions.angles[strongest]
        points = torch.stack([distance, first.double(), angles[:, 0], angles[:, 1]], 1)
        return [points[frames == frame] for frame in range(len(rd))]

    def products(self, raw: Tensor, names: Iterable[str]) -> dict[str, Tensor | list[Tensor]]:
        """The products ``names``, each of ADC, RT, RD, RA and PC; steps that they share are computed once.

        Raises:
            DataError: an unknown name, samples of another shape, or RA or PC without a calibration.
        """
        requested = list(names)
        for name in requested:
            if name not in PRODUCTS:
                raise DataError(f"unknown radar product {name!r}", cure=nearest(name, PRODUCTS))
        spectrum_names = [name for name in SPECTRA if name in requested]
        if {"RA", "PC"} & set(requested) and "RD" not in requested:
            spectrum_names.append("RD")
        products: dict[str, Tensor | list[Tensor]] = {}
        for name, spectrum in self._spectra(raw, spectrum_names).items():
            products[name] = spectrum
            if name == "RD" and "RA" in requested:
                products["RA"] = self.range_azimuth(spectrum)
            if name == "RD" and "PC" in requested:
                products["PC"] = self.point_cloud(spectrum)
        return {name: products[name] for name in requested}

    def _spectra(self, raw: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Those of ADC, RT and RD that ``names`` lists, (B,S,C,A).

        They are computed for a few antennas at a time, so that intermediate results stay in the CPU's cache.
        """
        spectra.check_raw(raw, self.radar)
        if _traced(raw):
            return self._traced_spectra(raw, names)
        out = {name: self._allocate(name, len(raw)) for name in names}
        steps = SPECTRA[: max((SPECTRA.index(name) + 1 for name in names), default=0)]
        for frame in range(len(raw)):
            for position, chip in enumerate(self.radar.chip_order):
                for receivers in self._receiver_groups:
                    values = spectra.decode_chip(raw[frame : frame + 1, chip], self.radar, self.dtype, receivers)
                    start = position * self.radar.rx_per_chip
                    antennas = slice(start + receivers.start, start + receivers.stop)
                    for step in steps:
                        values = self._step(step, values)
                        if step in out:
                            out[step][frame, :, :, antennas] = values[0]
        return out

    def _traced_spectra(self, raw: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """The same in one piece and without a write: what is written to memory that a tracer has not seen allocated is
        lost from its graph without a word."""
        chips = [spectra.decode_chip(raw[:, chip], self.radar, self.dtype) for chip in self.radar.chip_order]
        values, out = torch.cat(chips, 3), {}
        for step in SPECTRA[: max((SPECTRA.index(name) + 1 for name in names), default=0)]:
            values = self._step(step, values, inplace=False)
            if step in names:
                out[step] = values
        return {name: out[name] for name in names}

    def _step(self, name: str, values: Tensor, *, inplace: bool = True) -> Tensor:
        if name == "ADC":
            return spectra.remove_dc(values, inplace=inplace)
        if name == "RT":
            return spectra.range_spectrum(values, self._range_window, inplace=inplace)
        return spectra.doppler_spectrum(values, self._doppler_window, inplace=inplace)

    @property
    def _receiver_groups(self) -> list[slice]:
        """The receivers of a chip in groups that are transformed together."""
        antenna_bytes = self.radar.samples * self.radar.chirps * self.dtype.itemsize
        size, total = max(1, _GROUP_BYTES // antenna_bytes), self.radar.rx_per_chip
        return [slice(start, min(start + size, total)) for start in range(0, total, size)]

    def _allocate(self, name: str, frames: int) -> Tensor:
        """(B,S,C,A) uninitialised. In memory antennas are outermost, and the axis transformed last is innermost."""
        radar = self.radar
        sizes = (radar.samples, radar.chirps) if name == "RD" else (radar.chirps, radar.samples)
        memory = _empty((frames, radar.receivers, *sizes), self.dtype, self.device)
        return memory.permute(0, 2, 3, 1) if name == "RD" else memory.permute(0, 3, 2, 1)

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


def _traced(values: Tensor) -> bool:
    """Whether ``values`` stand for values that a graph will be given."""
    return type(values) is not Tensor or torch.compiler.is_compiling()


def _empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type != "cpu":
        return torch.empty(shape, dtype=dtype, device=device)
    # NumPy requests huge pages and torch does not. With small pages a fifth of a frame's time goes into page faults.
    # Zeros, which the system gives for nothing, because a buffer that holds chance would show in a recorded step.
    return torch.from_numpy(np.zeros(shape, np.complex128 if dtype == torch.complex128 else np.complex64))


def sum_amplitudes(rd: Tensor) -> Tensor:
    """(B,S,C) sum of the amplitudes of ``rd`` (B,S,C,A) over the antennas, added in their order."""
    total = rd[..., 0].abs()
    for antenna in range(1, rd.shape[3]):
        total += rd[..., antenna].abs()
    return total
