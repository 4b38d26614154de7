"""Voxel pooling: features of points summed into the cells of a bird's-eye-view grid.

Source: BEVDepth (Li et al., AAAI 2023), "efficient voxel pooling" in training and inference.

Cells: ``voxels`` holds (ix, iy, iz) of every point, int32, counted from the lower corner of the grid; a point outside
``0 <= ix < X, 0 <= iy < Y, 0 <= iz < Z`` is dropped. The result is (B, Y, X, C), row = y, column = x; cells of one
column (all iz) share a place. Sums, no means. No gradient flows to the geometry.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from portbev.ops.checks import need
from portbev.ops.operator import BackwardOperator, Operator
from portbev.ops.precision import autocast_to_float32

Size = tuple[int, int, int]


class VoxelPoolCall(NamedTuple):
    """The arguments of a call, as kernels get them."""

    features: Tensor  # (B, P, C), float; in a backward a tensor on "meta", which has shape and dtype and no values
    voxels: Tensor  # (B, P, 3), int32
    size: list[int]  # X, Y, Z


def definition(call: VoxelPoolCall) -> Tensor:
    """out[b, iy, ix] is the sum of the features of the points there."""
    features, voxels, (X, Y, Z) = call
    ix, iy, iz = voxels.long().unbind(-1)
    inside = (ix >= 0) & (ix < X) & (iy >= 0) & (iy < Y) & (iz >= 0) & (iz < Z)
    b, p = inside.nonzero(as_tuple=True)
    out = features.new_zeros(features.shape[0], Y, X, features.shape[2])
    return out.index_put((b, iy[b, p], ix[b, p]), features[b, p], accumulate=True)


VOXEL_POOL = Operator(
    "voxel_pool",
    VoxelPoolCall,
    definition=definition,
    fake=lambda call: call.features.new_empty(
        call.features.shape[0], call.size[1], call.size[0], call.features.shape[2]
    ),
    gradient=BackwardOperator(
        differentiable=("features",),
        left_out={
            "features": lambda grad, voxels, size: torch.empty(
                *voxels.shape[:2], grad.shape[3], dtype=grad.dtype, device="meta"
            )
        },
    ),
)


def voxel_pool(features: Tensor, voxels: Tensor, size: Size) -> Tensor:
    """Sum the features of points into their cells.

    Args:
        features: (B, P, C), float. float16 and bfloat16 are summed in float32.
        voxels: (B, P, 3) int32.
        size: (X, Y, Z) cells.

    Returns:
        (B, Y, X, C) in the dtype of ``features``, under autocast in float32 rather than float16 or bfloat16. The
        reference adds in the order of the points: deterministic.

    Raises:
        ValueError: shapes or dtypes that do not fit.
    """
    need("voxel_pool", features.dim() == 3 and features.is_floating_point(), "features are (B, P, C), float")
    check_voxels("voxel_pool", voxels, tuple(features.shape[:2]), size)
    out: Tensor = VOXEL_POOL(VoxelPoolCall(autocast_to_float32(features), voxels, list(size)))
    return out


def check_voxels(operator: str, voxels: Tensor, points: tuple[int, ...], size: Size) -> None:
    """Raise unless ``voxels`` are three int32 for each of ``points`` (any shape), in a grid of ``size``."""
    expected = (*points, 3)
    need(operator, tuple(voxels.shape) == expected, f"voxels are {expected}, not {tuple(voxels.shape)}")
    need(operator, voxels.dtype == torch.int32, f"voxels are int32, not {voxels.dtype}")
    need(operator, len(size) == 3 and min(size) > 0, f"size is three positive numbers (X, Y, Z), not {size}")
