"""Range and Doppler spectra from the samples of the radar's chips.

Axes are B frames, S samples or range bins, C chirps or Doppler bins, and A antennas. Results have the shape (B,S,C,A).
In memory antennas are outermost and the axis that was transformed last is innermost, which avoids copies.
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
    """Hamming window (length,): 0.54 - 0.46 cos(2 pi n / (length - 1)). RADIal's code calls it hanning."""
    if length == 1:
        return torch.ones(1, dtype=dtype, device=device)
    angle = torch.arange(length, dtype=torch.float64) * (2 * math.pi / (length - 1))
    return (0.54 - 0.46 * angle.cos()).to(dtype).to(device)


def check_raw(raw: Tensor, radar: RadarDescription) -> None:
    """Check that ``raw`` holds samples of ``radar``: (B, chips, values_per_chip) int16.

    Raises:
        DataError: another shape or dtype.
    """
    expected = (radar.chips, radar.values_per_chip)
    if raw.dtype != torch.int16 or raw.dim() != 3 or tuple(raw.shape[1:]) != expected:
        actual = f"{str(raw.dtype).removeprefix('torch.')} {tuple(raw.shape)}"
        raise DataError(f"radar samples are {actual}, expected int16 (frames, {expected[0]}, {expected[1]})")


def decode_chip(
    values: Tensor, radar: RadarDescription, dtype: torch.dtype = torch.complex128, receivers: slice = slice(None)
) -> Tensor:
    """The samples of one chip as complex numbers.

    Args:
        values: (B, values_per_chip) int16: chirp by chirp, receiver by receiver, sample by sample, I and Q.
        radar: the radar.
        dtype: complex128 or complex64.
        receivers: which of the chip's receivers to decode.

    Returns:
        (B,S,C,receivers) complex.
    """
    chirps = values.unflatten(1, (radar.chirps, radar.rx_per_chip, 2 * radar.samples))[:, :, receivers]
    planes = chirps.transpose(1, 2).to(_REAL[dtype], memory_format=torch.contiguous_format)
    return torch.view_as_complex(planes.unflatten(3, (radar.samples, 2))).permute(0, 3, 2, 1)


def remove_dc(frame: Tensor, *, inplace: bool = False) -> Tensor:
    """ADC: ``frame`` (B,S,C,A) minus each antenna's mean over samples and chirps."""
    planes = torch.view_as_real(frame).permute(0, 3, 2, 1, 4)  # (B,A,C,S, re and im), as the memory has them
    # The mean is repeated along the samples, because subtracting a broadcast pair of numbers is slow.
    mean = planes.mean((2, 3), keepdim=True).expand(-1, -1, -1, planes.shape[3], -1).contiguous()
    centred = planes.sub_(mean) if inplace else planes - mean
    return torch.view_as_complex(centred).permute(0, 3, 2, 1)


def range_spectrum(adc: Tensor, window: Tensor, *, inplace: bool = False) -> Tensor:
    """RT: ``adc`` (B,S,C,A) times ``window`` (S,), transformed along the samples; neither shifted nor scaled.

    With ``inplace`` the memory of ``adc`` is reused and its content is lost.
    """
    return _spectrum(adc, window, RANGE_AXIS, inplace)


def doppler_spectrum(rt: Tensor, window: Tensor, *, inplace: bool = False) -> Tensor:
    """RD: ``rt`` (B,S,C,A) times ``window`` (C,), transformed along the chirps; neither shifted nor scaled.

    With ``inplace`` the memory of ``rt`` is reused and its content is lost.
    """
    return _spectrum(rt, window, DOPPLER_AXIS, inplace)


def _spectrum(frame: Tensor, window: Tensor, axis: int, inplace: bool) -> Tensor:
    planes = frame.permute(0, 3, 2, 1).contiguous()  # (B,A,C,S)
    values = torch.view_as_real(planes).flatten(3)
    factor = window.repeat_interleave(2) if axis == RANGE_AXIS else window[:, None]
    windowed = values.mul_(factor) if inplace else values * factor
    return fft(torch.view_as_complex(windowed.unflatten(3, (-1, 2))), dim=4 - axis).permute(0, 3, 2, 1)


_REAL = {torch.complex128: torch.float64, torch.complex64: torch.float32}
