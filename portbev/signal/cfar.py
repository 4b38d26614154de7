"""Cell-averaging CFAR on the reduced range-Doppler map.

The noise around a cell is the mean power of a window without its middle, over those of its cells that lie on the map;
Doppler does not wrap around. The sums over boxes are products with banded matrices of ones: of positive terms only, so
that a strong echo inside the guard leaves no rounding error behind, which it would in a summed-area table.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.signal.description import RadarDescription


def reduce_doppler(amplitude: Tensor, radar: RadarDescription) -> Tensor:
    """(B,S,Q): ``amplitude`` (B,S,C) of the Doppler bins that are equal modulo Q, added up."""
    return amplitude.unflatten(2, (radar.doppler_slots, radar.reduced_doppler)).sum(2)


def noise_cells(shape: tuple[int, int], radar: RadarDescription) -> Tensor:
    """(S,Q) float64 number of cells that the noise at each cell of a map is averaged over."""
    return _ring(torch.ones(1, *shape, dtype=torch.float64), radar)[0]


def cfar_ratio(power: Tensor, radar: RadarDescription) -> Tensor:
    """(B,S,Q) ``power`` over the noise around it; NaN or infinite where no noise is around."""
    cells = _ring(torch.ones_like(power[:1]), radar)
    return power / (_ring(power, radar) / cells)


def cfar(reduced: Tensor, radar: RadarDescription) -> Tensor:
    """(B,S,Q) bool: cells of the ``reduced`` amplitudes whose power is above the threshold over the noise."""
    return cfar_ratio(reduced.square(), radar) > radar.cfar_threshold


def _ring(power: Tensor, radar: RadarDescription) -> Tensor:
    """(B,S,Q) sums of ``power`` over the window less the guard, zeros around the map.

    Rows beyond the guard count with the whole width, rows of the guard with what is beside it.
    """
    _, rows, columns = power.shape
    (tall, wide), (tall_guard, wide_guard) = radar.cfar_window, radar.cfar_guard
    middle = _band(rows, tall_guard).to(power)
    outside = _band(rows, tall).to(power) - middle
    whole = _band(columns, wide).to(power)
    beside = whole - _band(columns, wide_guard).to(power)
    return outside @ (power @ whole) + middle @ (power @ beside)


def _band(length: int, half: int) -> Tensor:
    """(length, length) ones where row and column are at most ``half`` apart."""
    at = torch.arange(length)
    return ((at[:, None] - at).abs() <= half).to(torch.float64)
