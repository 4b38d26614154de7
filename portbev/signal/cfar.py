"""Cell-averaging CFAR on the reduced range-Doppler map.

The noise at a cell is the mean power in a window around it without the window's middle, the guard. Cells outside the
map do not count, and Doppler does not wrap around. The sums over the window are products with banded matrices of ones,
which add positive terms only. In a summed-area table a strong echo inside the guard would leave a rounding error.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.signal.description import RadarDescription


def reduce_doppler(amplitude: Tensor, radar: RadarDescription) -> Tensor:
    """The reduced map (B,S,Q): ``amplitude`` (B,S,C) summed over the Doppler bins that are equal modulo Q."""
    return amplitude.unflatten(2, (radar.doppler_slots, radar.reduced_doppler)).sum(2)


def noise_cells(shape: tuple[int, int], radar: RadarDescription) -> Tensor:
    """(S,Q) float64 number of cells over which the noise at each cell of a map is averaged."""
    return _sum_around(torch.ones(1, *shape, dtype=torch.float64), radar)[0]


def cfar_ratio(power: Tensor, radar: RadarDescription) -> Tensor:
    """``power`` (B,S,Q) divided by the noise; NaN or infinite where the window has no cells or no power."""
    cells = _sum_around(torch.ones_like(power[:1]), radar)
    return power / (_sum_around(power, radar) / cells)


def cfar(reduced: Tensor, radar: RadarDescription) -> Tensor:
    """(B,S,Q) bool: the cells of the ``reduced`` amplitudes with a power above the threshold."""
    return cfar_ratio(reduced.square(), radar) > radar.cfar_threshold


def _sum_around(power: Tensor, radar: RadarDescription) -> Tensor:
    """(B,S,Q) sums of ``power`` over the window without the guard; the map is surrounded by zeros.

    Rows of the window outside the guard are summed over the window's whole width, rows of the guard only beside it.
    """
    _, rows, columns = power.shape
    (window_rows, window_columns), (guard_rows, guard_columns) = radar.cfar_window, radar.cfar_guard
    rows_in_guard = _band(rows, guard_rows).to(power)
    rows_outside = _band(rows, window_rows).to(power) - rows_in_guard
    all_columns = _band(columns, window_columns).to(power)
    columns_beside = all_columns - _band(columns, guard_columns).to(power)
    return rows_outside @ (power @ all_columns) + rows_in_guard @ (power @ columns_beside)


def _band(length: int, half: int) -> Tensor:
    """(length, length) matrix of ones where row and column differ by at most ``half``, and zeros elsewhere."""
    index = torch.arange(length)
    return ((index[:, None] - index).abs() <= half).to(torch.float64)
