"""``voxel_pool_lift`` by mx_driving (DrivingSDK), Atlas A2.

``bev_pool_v3(depth (B,N,D,H,W), feat (B,N,H,W,C), ranks_depth, ranks_feat, ranks_bev int32 (points,),
[B,Z,Y,X,C]) -> (B,C,Z,Y,X)``: for every point, depth[ranks_depth] * feat[ranks_feat] is added to cell ranks_bev.
Points outside the grid are left out of the ranks; the cells along z are one. Documented limits: float32, C a multiple
of 8 and at most 360, B*Z*Y*X*C <= 2^31. It adds atomically, so it is not deterministic. Not run on a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.voxel_pool import lift_ranks
from portbev_npu.kernels.gradients import gradients
from portbev_npu.kernels.limits import MX_DRIVING_CURE, float32_only, package_has

PROVIDER = "mx_driving"
MAX_CHANNELS, MAX_RESULTS = 360, 2**31
_INT32 = 2**31


@dataclass(frozen=True)
class Ranks:
    """For each point inside the grid, in order: its place in depth, its pixel in feat, its cell; int32 (points,)."""

    depth: Tensor
    feat: Tensor
    bev: Tensor


def supports(depth: Tensor, context: Tensor, voxels: Tensor, size: Sequence[int]) -> str | None:
    """The documented limits."""
    batch, channels = context.shape[0], context.shape[2]
    x, y, _ = size
    if channels % 8 or channels > MAX_CHANNELS:
        return f"{channels} channels; {PROVIDER} takes multiples of 8 up to {MAX_CHANNELS}"
    if batch * y * x * channels > MAX_RESULTS:
        return f"{batch * y * x * channels:,} results; {PROVIDER} takes at most {MAX_RESULTS:,}"
    if max(depth.numel(), context.numel() // channels, batch * y * x) >= _INT32:
        return f"more places than int32 can number; {PROVIDER} takes int32 ranks"
    if 0 in depth.shape or 0 in context.shape:
        return "empty input"
    return float32_only(PROVIDER, depth=depth, context=context)


def supports_backward(grad: Tensor, depth: Tensor, context: Tensor, voxels: Tensor, size: Sequence[int]) -> str | None:
    """As :func:`supports`, with the gradient."""
    return supports(depth, context, voxels, size) or float32_only(PROVIDER, grad=grad)


def forward(depth: Tensor, context: Tensor, voxels: Tensor, size: Sequence[int]) -> Tensor:
    """Sums (B,Y,X,C); see :func:`portbev.ops.voxel_pool_lift`."""
    ranks = ranks_of(voxels, size)
    if not len(ranks.bev):  # the vendor is not asked about no points at all
        return depth.new_zeros(depth.shape[0], size[1], size[0], context.shape[2])
    return _call(depth, context, ranks, size).contiguous()


def backward(
    grad: Tensor, depth: Tensor, context: Tensor, voxels: Tensor, size: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Gradients of depth and context."""
    ranks = ranks_of(voxels, size)
    if not len(ranks.bev):
        return torch.zeros_like(depth), torch.zeros_like(context)
    found = gradients(lambda d, c: _call(d, c, ranks, size), (depth, context), grad)
    return found[0], found[1]


def ranks_of(voxels: Tensor, size: Sequence[int]) -> Ranks:
    """Ranks of ``voxels`` (B,N,D,H,W,3) [ix,iy,iz], int32, in a grid of ``size`` (X,Y,Z), in point order."""
    depth, feat, bev = lift_ranks(voxels, list(size))
    return Ranks(depth.int(), feat.int(), bev.int())


def _call(depth: Tensor, context: Tensor, ranks: Ranks, size: Sequence[int]) -> Tensor:
    import mx_driving

    x, y, _ = size
    batch, _, channels, _, _ = context.shape
    feat = context.permute(0, 1, 3, 4, 2).contiguous()
    shape = [batch, 1, y, x, channels]
    pooled: Tensor = mx_driving.bev_pool_v3(depth.contiguous(), feat, ranks.depth, ranks.feat, ranks.bev, shape)
    return pooled[:, :, 0].permute(0, 2, 3, 1)


KERNEL = Kernel(
    operator="voxel_pool_lift",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    backward=backward,
    supports=supports,
    supports_backward=supports_backward,
    priority=30,
    deterministic=False,
    probe=package_has(PROVIDER, ("bev_pool_v3",), MX_DRIVING_CURE),
)
