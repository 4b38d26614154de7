"""Lift, splat and sum: voxel pooling of features that are depth probabilities times the context of pixels.

Source: Philion and Fidler, "Lift, Splat, Shoot" (ECCV 2020), with the pooling of BEVDepth (Li et al., AAAI 2023). The
cells are those of :func:`portbev.ops.voxel_pool`.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from portbev.ops.checks import need
from portbev.ops.operator import BackwardOperator, Operator
from portbev.ops.precision import autocast_to_float32
from portbev.ops.voxel_pool import Size, VoxelPoolCall, check_voxels
from portbev.ops.voxel_pool import definition as pool


class VoxelPoolLiftCall(NamedTuple):
    """The arguments of a call, as kernels get them."""

    depth: Tensor  # (B, N, D, H, W), float
    context: Tensor  # (B, N, C, H, W), the same dtype
    voxels: Tensor  # (B, N, D, H, W, 3), int32
    size: list[int]  # X, Y, Z


def definition(call: VoxelPoolLiftCall) -> Tensor:
    """The feature of a point is its depth probability times the context of its pixel."""
    depth, context, voxels, size = call
    points = depth[..., None] * context.movedim(2, -1)[:, :, None]  # (B, N, D, H, W, C)
    return pool(VoxelPoolCall(points.flatten(1, 4), voxels.flatten(1, 4), size))


VOXEL_POOL_LIFT = Operator(
    "voxel_pool_lift",
    VoxelPoolLiftCall,
    definition=definition,
    fake=lambda call: call.depth.new_empty(call.depth.shape[0], call.size[1], call.size[0], call.context.shape[2]),
    gradient=BackwardOperator(differentiable=("depth", "context")),
)


def voxel_pool_lift(depth: Tensor, context: Tensor, voxels: Tensor, size: Size) -> Tensor:
    """Lift, splat and sum: the feature of a point is its depth probability times the context of its pixel.

    Args:
        depth: (B, N, D, H, W) probability of each depth bin, float.
        context: (B, N, C, H, W), same dtype.
        voxels: (B, N, D, H, W, 3) int32.
        size: (X, Y, Z) cells.

    Returns:
        (B, Y, X, C) in the dtype of ``depth``. Products and sums in float32 for float16 and bfloat16; under autocast
        the result is float32 as well. The reference adds in the order (camera, depth, row, column), deterministic; it
        never holds the features of all points at once.

    Raises:
        ValueError: shapes or dtypes that do not fit.
    """
    name = "voxel_pool_lift"
    need(name, depth.dim() == 5 and depth.is_floating_point(), "depth is (B, N, D, H, W), float")
    depth, context = autocast_to_float32(depth), autocast_to_float32(context)
    B, N, _, H, W = depth.shape
    fits = context.dim() == 5 and (*context.shape[:2], *context.shape[3:]) == (B, N, H, W)
    need(name, fits and context.dtype == depth.dtype, f"context is {(B, N, 'C', H, W)}, {depth.dtype}")
    check_voxels(name, voxels, tuple(depth.shape), size)
    out: Tensor = VOXEL_POOL_LIFT(VoxelPoolLiftCall(depth, context, voxels, list(size)))
    return out
