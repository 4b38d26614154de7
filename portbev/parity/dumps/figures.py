"""Moments and projections of a tensor. Least and greatest come first: they say whether all is finite.

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
    """

    def __init__(self, flat: Tensor) -> None:
        self._pairs = 2 if flat.is_complex() else 1
        self._flat = flat = _real(flat)
        self.device, self._count = flat.device, flat.numel()
        self._least, self._greatest = flat.aminmax()
        self._finite = not flat.is_floating_point() or (
            self.device.type == "cpu" and math.isfinite(float(self._least)) and math.isfinite(float(self._greatest))
        )
        room = min(_BLOCK, -(-self._count // COLUMNS) * COLUMNS)
        self._room = torch.empty(room, dtype=torch.float64, device=self.device)
        self._columns = torch.zeros(PROJECTIONS, 1, WIDTH, dtype=torch.float64, device=self.device)
        self._sums: list[Tensor] = []
        self._squares: list[Tensor] = []
        self._strange: list[Tensor] = []

    def take(self, begin: int, end: int) -> None:
        """The elements from ``begin`` on, up to ``end``; ``begin`` is a multiple of a block's elements."""
        end = end * self._pairs
        for first in range(begin * self._pairs, end, _BLOCK):
            part = self._flat[first : min(first + _BLOCK, end)]
            filled = -(-part.numel() // COLUMNS) * COLUMNS
            block = self._room[:filled]
            block[: part.numel()].copy_(part)
            if part.numel() < filled:
                block[part.numel() :].zero_()
            if not self._finite:
                self._strange.append(torch.stack([block.isnan().sum(), block.isinf().sum()]))
                block.nan_to_num_(0.0, 0.0, 0.0)
            self._sums.append(block.sum())
            self._squares.append(torch.dot(block, block))
            if self._count > SMALL:
                rows = row_signs(first // COLUMNS, filled // COLUMNS, self.device)
                self._columns.baddbmm_(rows, block.view(-1, PROJECTIONS, WIDTH).transpose(0, 1))

    def result(self) -> Tensor:
        """(6 + PROJECTIONS,) float64: NaNs, infinities, sum, sum of squares, least, greatest, projections."""
        least, greatest, flat = self._least, self._greatest, self._flat
        if not self._finite:
            kept = flat[flat.isfinite()] if self.device.type == "cpu" else flat.nan_to_num(0.0, 0.0, 0.0)
            least, greatest = kept.aminmax() if kept.numel() else (flat.new_zeros(()), flat.new_zeros(()))
        if self._count > SMALL:
            projections = (self._columns[:, 0] * column_signs(self.device)).sum(1)
        else:
            projections = element_matrix(self.device)[:, : self._count] @ self._room[: self._count]
        strange = torch.stack(self._strange).sum(0).double() if self._strange else self._room.new_zeros(2)
        sums = torch.stack([torch.stack(self._sums).sum(), torch.stack(self._squares).sum()])
        return torch.cat([strange, sums, torch.stack([least, greatest]).double(), projections])


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
    return np.concatenate([(nan, inf, x.sum(), x @ x, least, greatest), projections])


def _real(flat: Tensor) -> Tensor:
    """Complex numbers as pairs, bools as 0 and 1."""
    if flat.is_complex():
        return torch.view_as_real(flat).reshape(-1)
    return flat.view(torch.uint8) if flat.dtype == torch.bool else flat
