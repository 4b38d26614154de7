"""Points sorted by the cell that they fall into, once for each tensor of voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

SEGMENT = 128
"""Points that are added by one program: cells near a camera hold thousands."""


@dataclass(frozen=True)
class Intervals:
    """Which points fall into each cell, int32 on the device of the voxels.

    Attributes:
        order: (points,) numbers of the points, by cell and within a cell in their order; those outside are last.
        starts: (cells + 1,) the first of each cell's points in ``order``.
        segments: (cells + 1,) the first of each cell's segments of at most :data:`SEGMENT` points; one at least.
        cell_of: (cells + points // SEGMENT,) the cell of each segment; the number of cells behind the last.
    """

    order: Tensor
    starts: Tensor
    segments: Tensor
    cell_of: Tensor


_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # voxels -> (version, size, intervals)


def intervals_of(voxels: Tensor, size: Sequence[int]) -> Intervals:
    """The intervals of ``voxels`` (B, ..., 3) int32 in a grid of ``size`` (X, Y, Z).

    They are kept as long as the tensor is, and made anew when it was written to: who keeps the voxels of a calibration
    sorts once. Nothing is read by the host.
    """
    if voxels.is_inference():  # has no count of the times it was written to
        return _sorted(voxels, size)
    found = _known.get(voxels)
    if found is None or found[:2] != (voxels._version, tuple(size)):
        found = (voxels._version, tuple(size), _sorted(voxels, size))
        _known[voxels] = found
    intervals: Intervals = found[2]
    return intervals


def _sorted(voxels: Tensor, size: Sequence[int]) -> Intervals:
    X, Y, Z = size
    B, device = voxels.shape[0], voxels.device
    cells = B * Y * X
    ix, iy, iz = voxels.reshape(B, -1, 3).unbind(-1)
    inside = (ix >= 0) & (ix < X) & (iy >= 0) & (iy < Y) & (iz >= 0) & (iz < Z)
    batch = torch.arange(B, dtype=torch.int32, device=device)[:, None]
    cell = torch.where(inside, (batch * Y + iy) * X + ix, cells).reshape(-1)
    cell, order = torch.sort(cell, stable=True)
    numbers = torch.arange(cells + 1, dtype=torch.int32, device=device)
    starts = torch.searchsorted(cell, numbers, out_int32=True)
    each = (starts.diff() + (SEGMENT - 1)).div_(SEGMENT, rounding_mode="floor").clamp_(min=1)
    segments = torch.zeros_like(starts)
    torch.cumsum(each, 0, dtype=torch.int32, out=segments[1:])
    programs = torch.arange(cells + cell.numel() // SEGMENT, dtype=torch.int32, device=device)
    cell_of = torch.searchsorted(segments, programs, right=True, out_int32=True).sub_(1)
    return Intervals(order.int(), starts, segments, cell_of)
