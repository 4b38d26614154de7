"""Reference kernel of lifting and pooling: the features of a chunk of points at a time, never of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from portbev.kernels import REFERENCE, Kernel
from portbev.ops.precision import widened
from portbev.ops.reference.voxel_pool import cell_of, chunks
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall


def lift_ranks(voxels: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Indices (int64, in point order) that lead from points inside the grid to depth, pixel and cell.

    Args:
        voxels: (B, N, D, H, W, 3) int32.

    Returns:
        ``ranks_depth`` into depth flattened (B*N*D*H*W), ``ranks_feat`` into context rows (B*N*H*W, C),
        ``ranks_bev`` into cells (B*Y*X): what ``bev_pool`` kernels take.
    """
    _, _, D, H, W, _ = voxels.shape
    points, cells = cell_of(voxels, size)
    pixels = points // (D * H * W) * (H * W) + points % (H * W)
    return points, pixels, cells


def pool_by_ranks(
    depth: Tensor, rows: Tensor, ranks_depth: Tensor, ranks_feat: Tensor, ranks_bev: Tensor, cells: int
) -> Tensor:
    """(cells, C) sums of ``depth[ranks_depth] * rows[ranks_feat]`` at ``ranks_bev``, added in the order given.

    Args:
        depth: flat, float32 or float64. rows: (pixels, C).
    """
    out = rows.new_zeros(cells, rows.shape[1])
    for d, f, b in chunks(ranks_depth, ranks_feat, ranks_bev):
        out.index_add_(0, b, rows.index_select(0, f) * depth.index_select(0, d)[:, None])
    return out


def pool_by_ranks_backward(
    grad_out: Tensor, depth: Tensor, rows: Tensor, ranks_depth: Tensor, ranks_feat: Tensor, ranks_bev: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`pool_by_ranks` by ``depth`` (flat) and ``rows``; ``grad_out`` is (cells, C)."""
    grad_depth, grad_rows = torch.zeros_like(depth), torch.zeros_like(rows)
    for d, f, b in chunks(ranks_depth, ranks_feat, ranks_bev):
        grad_points = grad_out.index_select(0, b)
        grad_depth[d] = (grad_points * rows.index_select(0, f)).sum(1)  # a point has one cell: no two writes meet
        grad_rows.index_add_(0, f, grad_points * depth.index_select(0, d)[:, None])
    return grad_depth, grad_rows


def context_rows(context: Tensor) -> Tensor:
    """(B*N*H*W, C) float rows of ``context`` (B, N, C, H, W)."""
    return widened(context).permute(0, 1, 3, 4, 2).reshape(-1, context.shape[2])


def forward(call: VoxelPoolLiftCall) -> Tensor:
    """Sums (B, Y, X, C); see :func:`portbev.ops.voxel_pool_lift`."""
    depth, context, voxels, size = call
    (B, C), (X, Y, _) = (depth.shape[0], context.shape[2]), size
    out = pool_by_ranks(widened(depth).reshape(-1), context_rows(context), *lift_ranks(voxels, size), B * Y * X)
    return out.reshape(B, Y, X, C).to(depth.dtype)


def backward(grad_out: Tensor, call: VoxelPoolLiftCall) -> tuple[Tensor, Tensor]:
    """Gradients by depth and context."""
    depth, context, voxels, size = call
    B, N, C, H, W = context.shape
    grad_depth, grad_rows = pool_by_ranks_backward(
        widened(grad_out).reshape(-1, C), widened(depth).reshape(-1), context_rows(context), *lift_ranks(voxels, size)
    )
    grad_context = grad_rows.reshape(B, N, H, W, C).permute(0, 1, 4, 2, 3).contiguous()
    return grad_depth.reshape(depth.shape).to(depth.dtype), grad_context.to(context.dtype)


KERNEL = Kernel("voxel_pool_lift", REFERENCE, forward, backward, priority=0)
