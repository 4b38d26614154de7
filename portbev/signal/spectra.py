"""From the chips' samples to range and Doppler spectra. May import: ops, errors, description.

Axes are named B frames, S samples or range bins, C chirps or Doppler bins, A antennas. Results have the logical layout
(B,S,C,A); in memory antennas are outermost and the axis that was transformed last is innermost, so that nothing is
copied for its own sake.
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


def check_raw(raw: Tensor, radar: RadarDescription) -> None:
    """Refuse what are not the samples of ``radar``: (B, chips, values_per_chip) int16.

    Raises:
        DataError: another shape or dtype.
    """
    expected = (radar.chips, radar.values_per_chip)
    if raw.dtype != torch.int16 or raw.dim() != 3 or tuple(raw.shape[1:]) != expected:
        found = f"{str(raw.dtype).removeprefix('torch.')} {tuple(raw.shape)}"
        raise DataError(f"radar samples are {found}, expected int16 (frames, {expected[0]}, {expected[1]})")


def decode_chip(values: Tensor, radar: RadarDescription, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Complex samples of the I and Q of one chip.

    Args:
        values: (B, values_per_chip) int16, I and Q interleaved, sample by sample, receiver by receiver, chirp by chirp.
        radar: sizes.
        dtype: complex128 or complex64.

    Returns:
        (B,S,C,rx_per_chip) complex.
    """
    chirps = values.unflatten(1, (radar.chirps, radar.rx_per_chip, 2 * radar.samples))
    planes = chirps.transpose(1, 2).to(_REAL[dtype], memory_format=torch.contiguous_format)
    return torch.view_as_complex(planes.unflatten(3, (radar.samples, 2))).permute(0, 3, 2, 1)


def remove_dc(frame: Tensor) -> Tensor:
    """``frame`` (B,S,C,A) less each antenna's mean over samples and chirps: RADIal's ADC."""
    planes = torch.view_as_real(frame).permute(0, 3, 2, 1, 4)  # (B,A,C,S, re and im), as the memory has them
    mean = planes.mean((2, 3), keepdim=True)
    # Repeated along the samples: a pair of numbers at a time would be subtracted slowly.
    left = planes - mean.expand(-1, -1, -1, planes.shape[3], -1).contiguous()
    return torch.view_as_complex(left).permute(0, 3, 2, 1)


def range_spectrum(adc: Tensor, window: Tensor) -> Tensor:
    """RT: ``adc`` (B,S,C,A) times ``window`` (S,), transformed along the samples; neither shifted nor scaled."""
    return _spectrum(adc, window, RANGE_AXIS)


def doppler_spectrum(rt: Tensor, window: Tensor) -> Tensor:
    """RD: ``rt`` (B,S,C,A) times ``window`` (C,), transformed along the chirps; neither shifted nor scaled."""
    return _spectrum(rt, window, DOPPLER_AXIS)


def _spectrum(frame: Tensor, window: Tensor, axis: int) -> Tensor:
    # The transform wants its axis innermost; a frame that is turned for it is a copy, which can be windowed in place.
    innermost = frame.movedim(3, 1).movedim(axis + 1, 3)  # (B,A, the other axis, axis)
    turned = innermost if innermost.is_contiguous() else _turned(innermost)
    planes, factor = torch.view_as_real(turned), window[:, None].expand(-1, 2).contiguous()
    windowed = planes * factor if turned is innermost else planes.mul_(factor)
    return fft(torch.view_as_complex(windowed), dim=3).movedim(3, axis + 1).movedim(1, 3)


def _turned(planes: Tensor) -> Tensor:
    """``planes`` (B,A,n,m) with m innermost. One plane at a time is the copy that torch does in blocks."""
    out = torch.empty(planes.shape, dtype=planes.dtype, device=planes.device)
    for frame in range(planes.shape[0]):
        for antenna in range(planes.shape[1]):
            out[frame, antenna].copy_(planes[frame, antenna])
    return out


_REAL = {torch.complex128: torch.float64, torch.complex64: torch.float32}
