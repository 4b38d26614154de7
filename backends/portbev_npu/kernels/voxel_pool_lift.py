"""``voxel_pool_lift`` by mx_driving (DrivingSDK), Atlas A2.

``bev_pool_v3(depth (B,N,D,H,W), feat (B,N,H,W,C), ranks_depth, ranks_feat, ranks_bev int32 (points,),
[B,Z,Y,X,C]) -> (B,C,Z,Y,X)``: for every point, depth[ranks_depth] * feat[ranks_feat] is added to cell ranks_bev.
Points outside the grid are left out of the ranks; the cells along z are one. Documented limits: float32, C a multiple
of 8 and at most 360, B*Z*Y*X*C <= 2^31. It adds atomically, so it is not deterministic. Not run on a device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.gradients import gradients
from portbev.ops.reference.voxel_pool_lift import lift_ranks
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev_npu.kernels.limits import MX_DRIVING_CURE, first_of, float32_only, package_has

PROVIDER = "mx_driving"
MAX_CHANNELS, MAX_RESULTS = 360, 2**31
_INT32 = 2**31


@dataclass(frozen=True)
class Ranks:
    """For each point inside the grid, in order: its place in depth, its pixel in feat, its cell; int32 (points,)."""

    depth: Tensor
    feat: Tensor
    bev: Tensor


def supports(call: VoxelPoolLiftCall) -> str | None:
    """The documented limits."""
    depth, context, _, (x, y, _) = call
    batch, channels = context.shape[0], context.shape[2]
    if channels % 8 or channels > MAX_CHANNELS:
        return f"{channels} channels; {PROVIDER} takes multiples of 8 up to {MAX_CHANNELS}"
    if batch * y * x * channels > MAX_RESULTS:
        return f"{batch * y * x * channels:,} results; {PROVIDER} takes at most {MAX_RESULTS:,}"
    if max(depth.numel(), context.numel() // channels, batch * y * x) >= _INT32:
        return f"more places than int32 can number; {PROVIDER} takes int32 ranks"
    if 0 in depth.shape or 0 in context.shape:
        return "empty input"
    return float32_only(PROVIDER, depth=depth, context=context)


def supports_backward(grad_out: Tensor, call: VoxelPoolLiftCall) -> str | None:
    """As :func:`supports`, with the gradient."""
    return first_of(supports(call), float32_only(PROVIDER, grad=grad_out))


def forward(call: VoxelPoolLiftCall) -> Tensor:
    """Sums (B,Y,X,C); see :func:`portbev.ops.voxel_pool_lift`."""
    ranks, (x, y, _) = ranks_of(call), call.size
    if not len(ranks.bev):  # the vendor is not asked about no points at all
        return call.depth.new_zeros(call.depth.shape[0], y, x, call.context.shape[2])
    return _pool(call, ranks).contiguous()


def backward(grad_out: Tensor, call: VoxelPoolLiftCall) -> tuple[Tensor, ...]:
    """Gradients of depth and context."""
    ranks = ranks_of(call)
    if not len(ranks.bev):
        return torch.zeros_like(call.depth), torch.zeros_like(call.context)
    return gradients(lambda leaves: _pool(leaves, ranks), call, ("depth", "context"), grad_out)


def ranks_of(call: VoxelPoolLiftCall) -> Ranks:
    """Ranks of the points inside the grid, int32, in point order."""
    depth, feat, bev = lift_ranks(call.voxels, call.size)
    return Ranks(depth.int(), feat.int(), bev.int())


def _pool(call: VoxelPoolLiftCall, ranks: Ranks) -> Tensor:
    """The vendor's function, as (B,Y,X,C)."""
    import mx_driving

    depth, context, _, (x, y, _) = call
    feat = context.permute(0, 1, 3, 4, 2).contiguous()
    shape = [context.shape[0], 1, y, x, context.shape[2]]
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
