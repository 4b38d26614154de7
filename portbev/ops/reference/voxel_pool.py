"""Reference kernel of voxel pooling: points are added to their cells in the order in which they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from portbev.kernels import REFERENCE, Kernel
from portbev.ops.precision import widened
from portbev.ops.voxel_pool import VoxelPoolCall

CHUNK = 1 << 16
"""Points whose features are formed at once: 65,536 x 80 floats are 21 MB, which stay in the cache."""


def cell_of(voxels: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Numbers of the points inside the grid and of their cells ``(b*Y + iy)*X + ix``, both int64, in point order.

    Args:
        voxels: (B, ..., 3) int32.
    """
    X, Y, Z = size
    ix, iy, iz = voxels.reshape(-1, 3).unbind(1)
    inside = (ix >= 0) & (ix < X) & (iy >= 0) & (iy < Y) & (iz >= 0) & (iz < Z)
    points = inside.nonzero().squeeze(1)
    batch = points // max(1, voxels.shape[1:-1].numel())
    return points, (batch * Y + iy[points]) * X + ix[points]


def chunks(*indices: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same stretch of each of ``indices``, one after the other."""
    return zip(*(index.split(CHUNK) for index in indices), strict=True)


def forward(call: VoxelPoolCall) -> Tensor:
    """Sums (B, Y, X, C); see :func:`portbev.ops.voxel_pool`."""
    features, voxels, size = call
    (B, P, C), (X, Y, _) = features.shape, size
    rows = widened(features).reshape(B * P, C)
    out = rows.new_zeros(B * Y * X, C)
    for points, cells in chunks(*cell_of(voxels, size)):
        out.index_add_(0, cells, rows.index_select(0, points))
    return out.reshape(B, Y, X, C).to(features.dtype)


def backward(grad_out: Tensor, call: VoxelPoolCall) -> Tensor:
    """Each point inside takes the gradient of its cell; the others zero."""
    B, P, C = call.features.shape
    points, cells = cell_of(call.voxels, call.size)
    out = grad_out.new_zeros(B * P, C)
    out[points] = grad_out.reshape(-1, C).index_select(0, cells)
    return out.reshape(B, P, C)


KERNEL = Kernel("voxel_pool", REFERENCE, forward, backward, priority=0)
