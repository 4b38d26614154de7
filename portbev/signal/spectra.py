"""From the chips' samples to range and Doppler spectra. May import: ops, errors, description.

Axes are named B frames, S samples or range bins, C chirps or Doppler bins, A antennas. Results have the logical layout
(B,S,C,A); in memory the axis that was transformed last is the innermost, so that nothing is copied for its own sake.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from portbev.errors import DataError
from portbev.ops import fft
from portbev.signal.description import RadarDescription

RANGE_AXIS, DOPPLER_AXIS = 1, 2


def hamming(length: int, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu") -> Tensor:
    """(length,) 0.54 - 0.46 cos(2 pi n / (length - 1)), which RADIal's code calls hanning."""
    if length == 1:
        return torch.ones(1, dtype=dtype, device=device)
    angle = torch.arange(length, dtype=torch.float64) * (2 * math.pi / (length - 1))
    return (0.54 - 0.46 * angle.cos()).to(dtype).to(device)


def decode(raw: Tensor, radar: RadarDescription, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Complex samples of the chips' I and Q.

    Args:
        raw: (B, chips, values_per_chip) int16; a chip writes I and Q interleaved, sample by sample, receiver by
            receiver, chirp by chirp.
        radar: sizes, and the order in which the chips become antennas.
        dtype: complex128 or complex64.

    Returns:
        (B,S,C,A) complex.

    Raises:
        DataError: another shape or dtype.
    """
    expected = (radar.chips, radar.values_per_chip)
    if raw.dtype != torch.int16 or raw.dim() != 3 or tuple(raw.shape[1:]) != expected:
        found = f"{str(raw.dtype).removeprefix('torch.')} {tuple(raw.shape)}"
        raise DataError(f"radar samples are {found}, expected int16 (frames, {expected[0]}, {expected[1]})")
    chips = raw.unflatten(2, (radar.chirps, radar.rx_per_chip, radar.samples, 2))[:, list(radar.chip_order)]
    planes = chips.permute(0, 2, 1, 3, 4, 5).to(_real(dtype), memory_format=torch.contiguous_format)
    return torch.view_as_complex(planes.flatten(2, 3)).permute(0, 3, 1, 2)


def remove_dc(frame: Tensor) -> Tensor:
    """``frame`` (B,S,C,A) less each antenna's mean over samples and chirps: RADIal's ADC."""
    planes = torch.view_as_real(frame)
    return torch.view_as_complex(planes - planes.mean((RANGE_AXIS, DOPPLER_AXIS), keepdim=True))


def range_spectrum(adc: Tensor, window: Tensor) -> Tensor:
    """RT: ``adc`` (B,S,C,A) times ``window`` (S,), transformed along the samples; neither shifted nor scaled."""
    return _spectrum(adc, window, RANGE_AXIS)


def doppler_spectrum(rt: Tensor, window: Tensor) -> Tensor:
    """RD: ``rt`` (B,S,C,A) times ``window`` (C,), transformed along the chirps; neither shifted nor scaled."""
    return _spectrum(rt, window, DOPPLER_AXIS)


def _spectrum(frame: Tensor, window: Tensor, axis: int) -> Tensor:
    # Windowed in the layout that the memory has, then turned once: the transform wants its axis innermost.
    factor = window.view([-1 if i == axis else 1 for i in range(frame.dim() + 1)])
    windowed = torch.view_as_complex(torch.view_as_real(frame) * factor)
    return fft(windowed.movedim(axis, -1), dim=-1).movedim(-1, axis)


def _real(dtype: torch.dtype) -> torch.dtype:
    return {torch.complex128: torch.float64, torch.complex64: torch.float32}[dtype]
