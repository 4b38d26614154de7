"""The directions of echoes: the range-azimuth map, and the azimuth and elevation of detections.

Both are products of the calibration with the values of the virtual array. They are written with real matrices, which
every device supports and which are fast on CPUs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from portbev.ops import fft
from portbev.signal.calibration import Calibration
from portbev.signal.description import RadarDescription


@dataclass(frozen=True)
class AzimuthBeams:
    """The calibration at the road's elevation, prepared for :func:`range_azimuth`.

    Attributes:
        beams: (K, 2*n_az, 2*A) real. For each of the K = doppler_slots frequencies along the slots it holds the complex
            matrix from receivers to azimuths, as [[re, -im], [im, re]].
        inverse: (2*K, 2*K) real, the inverse transform from frequencies to slots. Rows are (re or im, slot), columns
            are (frequency, re or im).
    """

    beams: Tensor
    inverse: Tensor

    @property
    def azimuths(self) -> int:
        return self.beams.shape[1] // 2


def azimuth_beams(
    calibration: Calibration, radar: RadarDescription, dtype: torch.dtype, device: torch.device | str
) -> AzimuthBeams:
    """Prepare the range-azimuth map in the real ``dtype``. The mathematics are explained in :func:`range_azimuth`."""
    count, azimuths = radar.doppler_slots, len(calibration.azimuth)
    road = torch.from_numpy(calibration.signal[:, :, radar.road_elevation]).to(torch.complex128)
    weights = (road * torch.from_numpy(calibration.window)).view(azimuths, radar.transmitters, radar.receivers)
    slots = torch.tensor(radar.slots) - radar.slots[0]
    frequency = torch.arange(count)
    phases = _roots_of_unity(frequency[:, None] * slots, count)  # (K, transmitters)
    beams = torch.einsum("ks,asr->kar", phases, weights) / count
    inverse = _roots_of_unity(frequency[:, None] * frequency, count)  # (slot, frequency)
    real_part = torch.stack([inverse.real, -inverse.imag], 2)
    imaginary_part = torch.stack([inverse.imag, inverse.real], 2)
    real_inverse = torch.stack([real_part, imaginary_part]).reshape(2 * count, 2 * count)
    return AzimuthBeams(_real_matrix(beams).to(dtype).to(device), real_inverse.to(dtype).to(device))


@torch.no_grad()
def range_azimuth(rd: Tensor, beams: AzimuthBeams, radar: RadarDescription, workspace: int = 64 << 20) -> Tensor:
    """RA: the amplitude at each azimuth, summed over all Doppler bins.

    By definition the values of all virtual elements at a range and Doppler bin d are multiplied by the calibration
    (n_az x V), where those of transmitter t come from bin d + slot_t * Q. With d = q + Q*k, the bins of a fixed q are
    the slots k, and the product is a circular correlation along the slots. After a Fourier transform along the slots it
    is one product (n_az x A) per frequency, and an inverse transform returns to the slots. For RADIal's 16 slots this
    takes a sixth of the operations; the results are equal up to rounding.

    Args:
        rd: (B,S,C,A) complex.
        beams: the calibration, in the real dtype that belongs to that of ``rd``.
        radar: the radar.
        workspace: size of the buffers in bytes. An accelerator is faster with larger ones.

    Returns:
        (B,S,n_az) real. No gradient.
    """
    frames, ranges, _, receivers = rd.shape
    slots, reduced, azimuths = radar.doppler_slots, radar.reduced_doppler, beams.azimuths
    transformed = fft(rd.movedim(2, 3).unflatten(3, (slots, reduced)), dim=3)  # (B,S,A,K,Q), in the layout of rd
    planes = torch.view_as_real(transformed).permute(3, 5, 2, 0, 1, 4).reshape(slots, 2 * receivers, -1)
    dtype, cells = planes.dtype, planes.shape[2]
    rows = max(1, workspace // (5 * slots * azimuths * reduced * dtype.itemsize))  # range bins at a time
    step = min(rows * reduced, cells)
    frequency_buffer = planes.new_empty(slots * 2 * azimuths * step)
    slot_buffer, amplitude_buffer = torch.empty_like(frequency_buffer), planes.new_empty(slots * azimuths * step)
    out = planes.new_empty(cells // reduced, azimuths)
    for start in range(0, cells, step):
        width = min(step, cells - start)
        by_frequency = frequency_buffer[: slots * 2 * azimuths * width].view(slots, 2 * azimuths, width)
        torch.bmm(beams.beams, planes[:, :, start : start + width], out=by_frequency)
        by_slot = slot_buffer[: slots * 2 * azimuths * width].view(2 * slots, azimuths * width)
        torch.mm(beams.inverse, by_frequency.view(2 * slots, azimuths * width), out=by_slot)
        amplitude = amplitude_buffer[: slots * azimuths * width].view(slots, azimuths * width)
        torch.mul(by_slot[:slots], by_slot[:slots], out=amplitude)
        amplitude.addcmul_(by_slot[slots:], by_slot[slots:]).sqrt_()
        summed = amplitude.sum(0).view(azimuths, width // reduced, reduced).sum(2)
        out[start // reduced : (start + width) // reduced] = summed.T
    return out.view(frames, ranges, azimuths)


@dataclass(frozen=True)
class Directions:
    """The calibration at all directions, prepared for :func:`strongest_directions`.

    Attributes:
        steering: (2*V, 2*n_az*n_el) real matrix from [re | im] of the elements to [re | im] of the directions.
        angles: (n_az*n_el, 2) float64 azimuth and elevation in radians.
    """

    steering: Tensor
    angles: Tensor


def directions(
    calibration: Calibration, radar: RadarDescription, dtype: torch.dtype, device: torch.device | str
) -> Directions:
    """Prepare the search over all directions in the real ``dtype``."""
    signal = torch.from_numpy(calibration.signal).to(torch.complex128).transpose(1, 2)  # (n_az, n_el, V)
    weighted = (signal * torch.from_numpy(calibration.window)).flatten(0, 1)
    azimuth = torch.from_numpy(calibration.azimuth) * (math.pi / 180)
    elevation = torch.from_numpy(calibration.elevation) * (math.pi / 180)
    angles = torch.cartesian_prod(azimuth, elevation).reshape(-1, 2)
    return Directions(_real_matrix(weighted[None])[0].T.contiguous().to(dtype).to(device), angles.to(device))


@torch.no_grad()
def strongest_directions(elements: Tensor, candidates: Directions, workspace: int = 64 << 20) -> tuple[Tensor, Tensor]:
    """The direction of each detection, which is the one with the largest amplitude.

    Args:
        elements: (n,V) complex values of the virtual elements.
        candidates: the calibration, in the real dtype that belongs to that of ``elements``.
        workspace: size of the buffers in bytes.

    Returns:
        (n,) int64 indices into ``candidates.angles`` and (n,) real amplitudes. NaN counts as 0.
    """
    planes = torch.view_as_real(elements).transpose(1, 2).flatten(1)  # [re | im]
    count = len(candidates.angles)
    rows = min(max(1, workspace // (2 * count * planes.dtype.itemsize)), len(planes))
    buffer = planes.new_empty(rows, 2 * count)
    indices, amplitudes = [planes.new_empty(0, dtype=torch.int64)], [planes.new_empty(0)]
    for block in planes.split(rows) if rows else ():
        squares = torch.mm(block, candidates.steering, out=buffer[: len(block)])
        squares.mul_(squares)
        power, index = squares[:, :count].add_(squares[:, count:]).nan_to_num_(nan=0.0).max(1)
        indices.append(index)
        amplitudes.append(power.sqrt())
    return torch.cat(indices), torch.cat(amplitudes)


def _roots_of_unity(numerator: Tensor, denominator: int) -> Tensor:
    """exp(2 pi i * numerator / denominator), complex128; the fraction is first reduced modulo 1 in integers."""
    angle = (numerator % denominator).to(torch.float64) * (2 * math.pi / denominator)
    return torch.complex(angle.cos(), angle.sin())


def _real_matrix(matrix: Tensor) -> Tensor:
    """The real matrices [[re, -im], [im, re]] (..., 2*rows, 2*columns) of complex matrices (..., rows, columns)."""
    upper = torch.cat([matrix.real, -matrix.imag], -1)
    return torch.cat([upper, torch.cat([matrix.imag, matrix.real], -1)], -2)
