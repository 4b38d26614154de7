"""Voxel pooling: features of points summed into the cells of a bird's-eye-view grid.

Source: BEVDepth (Li et al., AAAI 2023), "efficient voxel pooling" in training and inference.

Cells: ``voxels`` holds (ix, iy, iz) of every point, int32, counted from the lower corner of the grid; a point outside
``0 <= ix < X, 0 <= iy < Y, 0 <= iz < Z`` is dropped. The result is (B, Y, X, C), row = y, column = x; cells of one
column (all iz) share a place. Sums, no means. No gradient flows to the geometry.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops.precision import autocast_to_float32, dispatch, widened

Size = tuple[int, int, int]
_CHUNK = 1 << 16  # points whose features are formed at once: 65,536 x 80 floats are 21 MB, which stay in the cache


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
    _need("voxel_pool", features.dim() == 3 and features.is_floating_point(), "features are (B, P, C), float")
    expected = (*features.shape[:2], 3)
    _need("voxel_pool", tuple(voxels.shape) == expected, f"voxels are {expected}, not {tuple(voxels.shape)}")
    _check_voxels("voxel_pool", voxels, size)
    out: Tensor = _pool(autocast_to_float32(features), voxels, list(size))
    return out


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
    _need(name, depth.dim() == 5 and depth.is_floating_point(), "depth is (B, N, D, H, W), float")
    depth, context = autocast_to_float32(depth), autocast_to_float32(context)
    B, N, _, H, W = depth.shape
    fits = context.dim() == 5 and (*context.shape[:2], *context.shape[3:]) == (B, N, H, W)
    _need(name, fits and context.dtype == depth.dtype, f"context is {(B, N, 'C', H, W)}, {depth.dtype}")
    expected = (*depth.shape, 3)
    _need(name, tuple(voxels.shape) == expected, f"voxels are {expected}, not {tuple(voxels.shape)}")
    _check_voxels(name, voxels, size)
    out: Tensor = _lift(depth, context, voxels, list(size))
    return out


@torch.library.custom_op("portbev::voxel_pool", mutates_args=())
def _pool(features: Tensor, voxels: Tensor, size: list[int]) -> Tensor:
    result: Tensor = dispatch("voxel_pool", "forward", features.device.type, features, voxels, size)
    return result


@_pool.register_fake
def _(features, voxels, size):  # type: ignore[no-untyped-def]
    return features.new_empty(features.shape[0], size[1], size[0], features.shape[2])


@torch.library.custom_op("portbev::voxel_pool_backward", mutates_args=())
def _pool_backward(grad: Tensor, voxels: Tensor, size: list[int]) -> Tensor:
    result: Tensor = dispatch("voxel_pool", "backward", grad.device.type, grad, voxels, size)
    return result


@_pool_backward.register_fake
def _(grad, voxels, size):  # type: ignore[no-untyped-def]
    return grad.new_empty(*voxels.shape[:2], grad.shape[3])


def _pool_setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    _, voxels, ctx.size = inputs
    ctx.save_for_backward(voxels)


def _pool_grad(ctx, grad):  # type: ignore[no-untyped-def]
    return _pool_backward(grad.contiguous(), ctx.saved_tensors[0], ctx.size), None, None


_pool.register_autograd(_pool_grad, setup_context=_pool_setup)


@torch.library.custom_op("portbev::voxel_pool_lift", mutates_args=())
def _lift(depth: Tensor, context: Tensor, voxels: Tensor, size: list[int]) -> Tensor:
    result: Tensor = dispatch("voxel_pool_lift", "forward", depth.device.type, depth, context, voxels, size)
    return result


@_lift.register_fake
def _(depth, context, voxels, size):  # type: ignore[no-untyped-def]
    return depth.new_empty(depth.shape[0], size[1], size[0], context.shape[2])


@torch.library.custom_op("portbev::voxel_pool_lift_backward", mutates_args=())
def _lift_backward(
    grad: Tensor, depth: Tensor, context: Tensor, voxels: Tensor, size: list[int]
) -> tuple[Tensor, Tensor]:
    args = (grad, depth, context, voxels, size)
    result: tuple[Tensor, Tensor] = dispatch("voxel_pool_lift", "backward", grad.device.type, *args)
    return result


@_lift_backward.register_fake
def _(grad, depth, context, voxels, size):  # type: ignore[no-untyped-def]
    return depth.new_empty(depth.shape), context.new_empty(context.shape)


def _lift_setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    depth, context, voxels, ctx.size = inputs
    ctx.save_for_backward(depth, context, voxels)


def _lift_grad(ctx, grad):  # type: ignore[no-untyped-def]
    return *_lift_backward(grad.contiguous(), *ctx.saved_tensors, ctx.size), None, None


_lift.register_autograd(_lift_grad, setup_context=_lift_setup)


def cell_of(voxels: Tensor, size: list[int]) -> tuple[Tensor, Tensor]:
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


def lift_ranks(voxels: Tensor, size: list[int]) -> tuple[Tensor, Tensor, Tensor]:
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
    for d, f, b in zip(ranks_depth.split(_CHUNK), ranks_feat.split(_CHUNK), ranks_bev.split(_CHUNK), strict=True):
        out.index_add_(0, b, rows.index_select(0, f) * depth.index_select(0, d)[:, None])
    return out


def pool_by_ranks_backward(
    grad: Tensor, depth: Tensor, rows: Tensor, ranks_depth: Tensor, ranks_feat: Tensor, ranks_bev: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`pool_by_ranks` by ``depth`` (flat) and ``rows``; ``grad`` is (cells, C)."""
    grad_depth, grad_rows = torch.zeros_like(depth), torch.zeros_like(rows)
    for d, f, b in zip(ranks_depth.split(_CHUNK), ranks_feat.split(_CHUNK), ranks_bev.split(_CHUNK), strict=True):
        arrived = grad.index_select(0, b)
        grad_depth[d] = (arrived * rows.index_select(0, f)).sum(1)  # a point has one cell: no two writes meet
        grad_rows.index_add_(0, f, arrived * depth.index_select(0, d)[:, None])
    return grad_depth, grad_rows


def reference_pool(features: Tensor, voxels: Tensor, size: list[int]) -> Tensor:
    """Definition of ``voxel_pool``."""
    (B, P, C), (X, Y, _) = features.shape, size
    points, cells = cell_of(voxels, size)
    rows = widened(features).reshape(B * P, C)
    out = rows.new_zeros(B * Y * X, C)
    for p, c in zip(points.split(_CHUNK), cells.split(_CHUNK), strict=True):
        out.index_add_(0, c, rows.index_select(0, p))
    return out.reshape(B, Y, X, C).to(features.dtype)


def reference_pool_backward(grad: Tensor, voxels: Tensor, size: list[int]) -> Tensor:
    """Each point inside takes the gradient of its cell; the others zero."""
    (B, P, _), C = voxels.shape, grad.shape[3]
    points, cells = cell_of(voxels, size)
    out = grad.new_zeros(B * P, C)
    out[points] = grad.reshape(-1, C).index_select(0, cells)
    return out.reshape(B, P, C)


def context_rows(context: Tensor) -> Tensor:
    """(B*N*H*W, C) float rows of ``context`` (B, N, C, H, W)."""
    return widened(context).permute(0, 1, 3, 4, 2).reshape(-1, context.shape[2])


def reference_lift(depth: Tensor, context: Tensor, voxels: Tensor, size: list[int]) -> Tensor:
    """Definition of ``voxel_pool_lift``."""
    X, Y, _ = size
    out = pool_by_ranks(
        widened(depth).reshape(-1), context_rows(context), *lift_ranks(voxels, size), depth.shape[0] * Y * X
    )
    return out.reshape(depth.shape[0], Y, X, context.shape[2]).to(depth.dtype)


def reference_lift_backward(
    grad: Tensor, depth: Tensor, context: Tensor, voxels: Tensor, size: list[int]
) -> tuple[Tensor, Tensor]:
    """Gradients of ``voxel_pool_lift`` by depth and context."""
    B, N, C, H, W = context.shape
    by_depth, by_rows = pool_by_ranks_backward(
        widened(grad).reshape(-1, C), widened(depth).reshape(-1), context_rows(context), *lift_ranks(voxels, size)
    )
    by_context = by_rows.reshape(B, N, H, W, C).permute(0, 1, 4, 2, 3).contiguous()
    return by_depth.reshape(depth.shape).to(depth.dtype), by_context.to(context.dtype)


KERNELS.add_reference(Kernel("voxel_pool", "reference", reference_pool, reference_pool_backward, priority=0))
KERNELS.add_reference(Kernel("voxel_pool_lift", "reference", reference_lift, reference_lift_backward, priority=0))


def _need(name: str, condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(f"{name}: {text}")


def _check_voxels(name: str, voxels: Tensor, size: Size) -> None:
    _need(name, voxels.dtype == torch.int32, f"voxels are int32, not {voxels.dtype}")
    _need(name, len(size) == 3 and min(size) > 0, f"size is three positive numbers (X, Y, Z), not {size}")
