"""Where echoes come from: the range-azimuth map and the direction of hits.

Both are products of the calibration with the virtual array's values, written with real matrices: these run on every
device and at full speed on CPUs.
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
    """The calibration at the road's elevation, made ready for :func:`range_azimuth`.

    Attributes:
        beams: (K, 2*n_az, 2*A) real: for each of the K = doppler_slots frequencies along the slots the complex matrix
            from receivers to azimuths, as [[re, -im], [im, re]].
        back: (2*K, 2*K) real: from frequencies back to slots, rows (re or im, slot), columns (frequency, re or im).
    """

    beams: Tensor
    back: Tensor

    @property
    def azimuths(self) -> int:
        return self.beams.shape[1] // 2


def azimuth_beams(
    calibration: Calibration, radar: RadarDescription, dtype: torch.dtype, device: torch.device | str
) -> AzimuthBeams:
    """Prepare the range-azimuth map in the real ``dtype``; see :func:`range_azimuth` for the mathematics."""
    count, azimuths = radar.doppler_slots, len(calibration.azimuth)
    road = torch.from_numpy(calibration.signal[:, :, radar.road_elevation]).to(torch.complex128)
    weights = (road * torch.from_numpy(calibration.window)).view(azimuths, radar.transmitters, radar.receivers)
    slots = torch.tensor(radar.slots) - radar.slots[0]
    frequency = torch.arange(count)
    ahead = _turns(frequency[:, None] * slots, count)  # (K, transmitters)
    beams = torch.einsum("ks,asr->kar", ahead, weights) / count
    back = _turns(frequency[:, None] * frequency, count)  # (slot, frequency)
    columns = torch.stack([torch.stack([back.real, -back.imag], 2), torch.stack([back.imag, back.real], 2)])
    return AzimuthBeams(
        _real_matrix(beams).to(dtype).to(device), columns.reshape(2 * count, 2 * count).to(dtype).to(device)
    )


@torch.no_grad()
def range_azimuth(rd: Tensor, beams: AzimuthBeams, radar: RadarDescription, workspace: int = 64 << 20) -> Tensor:
    """RA: amplitude of each azimuth, added up over all Doppler bins.

    For every range and Doppler bin d the definition takes the values of all virtual elements, those of transmitter t
    from bin d + slot_t * Q, and multiplies them with the calibration (n_az x V). With d = q + Q*k the bins of a fixed q
    are the slots k, and the transmitters' offsets a circular correlation along them. A transform along the slots turns
    that into one product (n_az x A) per frequency, and a transform of the result leads back to the slots: for RADIal's
    16 slots a sixth of the definition's operations, equal up to rounding.

    Args:
        rd: (B,S,C,A) complex.
        beams: the calibration, of the real dtype that goes with ``rd``.
        radar: the array.
        workspace: bytes of buffers. An accelerator wants them as large as there is room for.

    Returns:
        (B,S,n_az) real. No gradient.
    """
    frames, ranges, _, receivers = rd.shape
    slots, reduced, azimuths = radar.doppler_slots, radar.reduced_doppler, beams.azimuths
    along = fft(rd.movedim(2, 3).unflatten(3, (slots, reduced)), dim=3)  # (B,S,A,K,Q), contiguous as rd is
    planes = torch.view_as_real(along).permute(3, 5, 2, 0, 1, 4).reshape(slots, 2 * receivers, -1)
    dtype, cells = planes.dtype, planes.shape[2]
    rows = max(1, workspace // (5 * slots * azimuths * reduced * dtype.itemsize))  # range bins at a time
    step = min(rows * reduced, cells)
    first = planes.new_empty(slots * 2 * azimuths * step)
    second, power = torch.empty_like(first), planes.new_empty(slots * azimuths * step)
    out = planes.new_empty(cells // reduced, azimuths)
    for start in range(0, cells, step):
        width = min(step, cells - start)
        by_frequency = first[: slots * 2 * azimuths * width].view(slots, 2 * azimuths, width)
        torch.bmm(beams.beams, planes[:, :, start : start + width], out=by_frequency)
        by_slot = second[: slots * 2 * azimuths * width].view(2 * slots, azimuths * width)
        torch.mm(beams.back, by_frequency.view(2 * slots, azimuths * width), out=by_slot)
        amplitude = power[: slots * azimuths * width].view(slots, azimuths * width)
        torch.mul(by_slot[:slots], by_slot[:slots], out=amplitude)
        amplitude.addcmul_(by_slot[slots:], by_slot[slots:]).sqrt_()
        summed = amplitude.sum(0).view(azimuths, width // reduced, reduced).sum(2)
        out[start // reduced : (start + width) // reduced] = summed.T
    return out.view(frames, ranges, azimuths)


@dataclass(frozen=True)
class Directions:
    """The calibration at all directions, made ready for :func:`strongest`.

    Attributes:
        steering: (2*V, 2*n_az*n_el) real: from [re | im] of the weighted elements to [re | im] of the directions.
        angles: (n_az*n_el, 2) float64: azimuth and elevation, radians.
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
def strongest(elements: Tensor, table: Directions, workspace: int = 64 << 20) -> tuple[Tensor, Tensor]:
    """The direction with the largest amplitude.

    Args:
        elements: (n,V) complex values of the virtual elements.
        table: the calibration, of the real dtype that goes with ``elements``.
        workspace: bytes of buffers.

    Returns:
        (n,) int64 index into ``table.angles`` and (n,) real amplitude. NaN counts as 0.
    """
    planes = torch.view_as_real(elements).transpose(1, 2).flatten(1)  # [re | im]
    count = len(table.angles)
    rows = min(max(1, workspace // (2 * count * planes.dtype.itemsize)), len(planes))
    buffer = planes.new_empty(rows, 2 * count)
    best, peak = [planes.new_empty(0, dtype=torch.int64)], [planes.new_empty(0)]
    for block in planes.split(rows) if rows else ():
        found = torch.mm(block, table.steering, out=buffer[: len(block)])
        found.mul_(found)
        top, at = found[:, :count].add_(found[:, count:]).nan_to_num_(nan=0.0).max(1)
        best.append(at)
        peak.append(top.sqrt())
    return torch.cat(best), torch.cat(peak)


def _turns(numerator: Tensor, denominator: int) -> Tensor:
    """exp(2 pi i * numerator / denominator), complex128; reduced as whole numbers first."""
    angle = (numerator % denominator).to(torch.float64) * (2 * math.pi / denominator)
    return torch.complex(angle.cos(), angle.sin())


def _real_matrix(matrix: Tensor) -> Tensor:
    """(..., 2*rows, 2*columns) [[re, -im], [im, re]] of a complex matrix."""
    above = torch.cat([matrix.real, -matrix.imag], -1)
    return torch.cat([above, torch.cat([matrix.imag, matrix.real], -1)], -2)
