"""Moments and projections of a tensor, block by block.

A projection is the sum of some of the elements, each with a random sign; every element belongs to one of the 16. Of two
tensors the sum of the squared differences of their projections estimates the squared distance without bias and with a
relative standard deviation of a third (Charikar, Chen and Farach-Colton 2002).

Elements of a small tensor are dealt out one by one. A large one is read in rows of 16 times 37 elements: a projection
has 37 neighbouring columns, and a sign is that of the row, in that projection, times that of the column, so that the
sums are products of vectors and matrices.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.parity.dumps.room import Room
from portbev.parity.dumps.signs import (
    COLUMNS,
    PROJECTIONS,
    ROWS,
    SMALL,
    WIDTH,
    column_signs,
    element_matrix,
    element_signs,
    row_signs,
)

_BLOCK = ROWS * COLUMNS


class Figures:
    """Figures of a tensor, piece by piece, on its device.

    Args:
        flat: (n,) contiguous, n > 0, of any dtype; complex numbers count as pairs, bools as 0 and 1.
        room: memory to work in.
    """

    def __init__(self, flat: Tensor, room: Room | None = None) -> None:
        self._pairs = 2 if flat.is_complex() else 1
        self._flat = flat = _real(flat)
        self._device, self._count = flat.device, flat.numel()
        count = min(_BLOCK, -(-self._count // COLUMNS) * COLUMNS)
        self._room = (room or Room()).of(_BLOCK, count, torch.float64, flat.device)
        self._zero = self._room.new_zeros(())
        self._columns = torch.zeros(PROJECTIONS, 1, WIDTH, dtype=torch.float64, device=flat.device)
        self._told: list[Tensor] = []

    def take(self, begin: int, end: int) -> None:
        """The elements from ``begin`` on, up to ``end``; ``begin`` is a multiple of a block's elements."""
        end = end * self._pairs
        for first in range(begin * self._pairs, end, _BLOCK):
            part = self._flat[first : min(first + _BLOCK, end)]
            block = self._room[: -(-part.numel() // COLUMNS) * COLUMNS]
            self._told.append(torch.stack(self._read(part, block)))
            if self._count > SMALL:
                rows = row_signs(first // COLUMNS, block.numel() // COLUMNS, self._device)
                self._columns.baddbmm_(rows, block.view(-1, PROJECTIONS, WIDTH).transpose(0, 1))

    def _read(self, part: Tensor, block: Tensor) -> list[Tensor]:
        """Fill ``block`` with ``part``: zeros for what is not finite, and behind its end.

        Returns:
            NaNs, infinities, sum, sum of squares, least, greatest; the last two infinite where nothing is finite.
        """
        size = part.numel()
        least, greatest = part.aminmax()
        block[:size].copy_(part)
        if size < block.numel():
            block[size:].zero_()
        nan = inf = self._zero
        on_host = self._device.type == "cpu"  # a device is not asked in between
        if part.is_floating_point() and not (on_host and math.isfinite(least) and math.isfinite(greatest)):
            finite = block.isfinite()
            nan, inf = block.isnan().sum().double(), block.isinf().sum().double()
            least = block.where(finite, math.inf)[:size].amin()
            greatest = block.where(finite, -math.inf)[:size].amax()
            block.nan_to_num_(0.0, 0.0, 0.0)
        return [nan, inf, block.sum(), torch.dot(block, block), least.double(), greatest.double()]

    def result(self) -> Tensor:
        """(6 + PROJECTIONS,) float64: NaNs, infinities, sum, sum of squares, least, greatest, projections."""
        told = torch.stack(self._told)
        extremes = torch.stack([told[:, 4].amin(), told[:, 5].amax()]).nan_to_num(0.0, 0.0, 0.0)
        if self._count > SMALL:
            projections = (self._columns[:, 0] * column_signs(self._device)).sum(1)
        else:
            projections = element_matrix(self._device)[:, : self._count] @ self._room[: self._count]
        return torch.cat([told[:, :4].sum(0), extremes, projections])


def small_figures(flat: Tensor) -> NDArray[np.float64]:
    """The same for a small tensor on the host, by NumPy, whose calls take less time."""
    x = _real(flat).double().numpy()
    if len(x) > SMALL:  # pairs of complex numbers
        figures = Figures(flat)
        figures.take(0, flat.numel())
        return figures.result().numpy()
    nan = inf = 0
    least, greatest = x.min(), x.max()
    if not (math.isfinite(least) and math.isfinite(greatest)):
        nan, inf, finite = np.isnan(x).sum(), np.isinf(x).sum(), np.isfinite(x)
        kept = x[finite]
        least, greatest = (kept.min(), kept.max()) if len(kept) else (0.0, 0.0)
        x = np.where(finite, x, 0.0)
    places, signs = element_signs()
    projections = np.bincount(places[: len(x)], weights=x * signs[: len(x)], minlength=PROJECTIONS)
    squares = np.square(x).sum()  # x @ x would wake the threads of NumPy's BLAS, which then wait busily beside torch's
    return np.concatenate([(nan, inf, x.sum(), squares, least, greatest), projections])


def _real(flat: Tensor) -> Tensor:
    """Complex numbers as pairs, bools as 0 and 1."""
    if flat.is_complex():
        return torch.view_as_real(flat).reshape(-1)
    return flat.view(torch.uint8) if flat.dtype == torch.bool else flat
