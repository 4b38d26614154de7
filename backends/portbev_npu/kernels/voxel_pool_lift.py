"""``voxel_pool_lift`` by mx_driving (DrivingSDK), Atlas A2 and A3.

``bev_pool_v3(depth (B,N,D,H,W), feat (B,N,H,W,C), ranks_depth, ranks_feat, ranks_bev int32 (points,),
[B,Z,Y,X,C]) -> (B,C,Z,Y,X)``: for every point, depth[ranks_depth] * feat[ranks_feat] is added to cell ranks_bev.
Points outside the grid are left out of the ranks; the cells along z are one. float32, C a multiple of 8 and at most 360
(documented). The ranks are multiplied by C in int32: results and features must have fewer than 2^31 floats, or wrong
places are read and written without a word. It adds atomically, so it is not deterministic. Read in the wheels 26.1.0
and 26.2.0; not run on a device.

The backward is the vendor's ``_C.npu_bev_pool_v3_backward(grad (B,Z,Y,X,C), depth, feat, ranks_depth, ranks_feat,
ranks_bev) -> (grad_depth, grad_feat)``, which needs no result of the forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.reference.voxel_pool_lift import lift_ranks
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev_npu.chips import chip_lacks
from portbev_npu.kernels.limits import MX_DRIVING_CURE, first_of, float32_only, nonempty, package_has
from portbev_npu.vendor import driving

PROVIDER = "mx_driving"
MAX_CHANNELS, INT32 = 360, 2**31


@dataclass(frozen=True)
class Ranks:
    """For each point inside the grid, in order: its place in depth, its pixel in feat, its cell; int32 (points,)."""

    depth: Tensor
    feat: Tensor
    bev: Tensor


def supports(call: VoxelPoolLiftCall) -> str | None:
    """What the wheel documents, and what int32 cannot number."""
    return first_of(_limits(call), float32_only(PROVIDER, depth=call.depth, context=call.context))


def supports_backward(grad_out: Tensor, call: VoxelPoolLiftCall) -> str | None:
    """As :func:`supports`, with the gradient."""
    return first_of(supports(call), float32_only(PROVIDER, grad=grad_out), chip_lacks("bev_pool_v3_backward"))


def forward(call: VoxelPoolLiftCall) -> Tensor:
    """Sums (B,Y,X,C); see :func:`portbev.ops.voxel_pool_lift`."""
    ranks, shape = ranks_of(call), _shape(call)
    if not len(ranks.bev):  # the vendor is not asked about no points at all
        return call.depth.new_zeros(shape[0], *shape[2:])
    depth, feat = _tensors(call)
    pooled: Tensor = driving().bev_pool_v3(depth, feat, ranks.depth, ranks.feat, ranks.bev, shape)
    return pooled[:, :, 0].permute(0, 2, 3, 1).contiguous()


def backward(grad_out: Tensor, call: VoxelPoolLiftCall) -> tuple[Tensor, ...]:
    """Gradients of depth and context."""
    ranks = ranks_of(call)
    if not len(ranks.bev):
        return torch.zeros_like(call.depth), torch.zeros_like(call.context)
    grad = grad_out.contiguous().view(_shape(call))
    grad_depth, grad_feat = driving()._C.npu_bev_pool_v3_backward(
        grad, *_tensors(call), ranks.depth, ranks.feat, ranks.bev
    )
    return grad_depth.contiguous(), grad_feat.permute(0, 1, 4, 2, 3).contiguous()


def ranks_of(call: VoxelPoolLiftCall) -> Ranks:
    """Ranks of the points inside the grid, int32, in point order."""
    depth, feat, bev = lift_ranks(call.voxels, call.size)
    return Ranks(depth.int(), feat.int(), bev.int())


def channels_fit(channels: int) -> bool:
    """Whether ``bev_pool_v3`` takes features of so many channels."""
    return channels % 8 == 0 and channels <= MAX_CHANNELS


def numbered_by_int32(provider: str, sizes: Mapping[str, int]) -> str | None:
    """None if int32 numbers the floats of each of ``sizes``, else the reason."""
    for name, size in sizes.items():
        if size >= INT32:
            return f"{size:,} floats of {name}; {provider} numbers them by int32 and takes fewer than {INT32:,}"
    return None


def _limits(call: VoxelPoolLiftCall) -> str | None:
    depth, context, _, (x, y, _) = call
    batch, channels = context.shape[0], context.shape[2]
    if not channels_fit(channels):
        return f"{channels} channels; {PROVIDER} takes multiples of 8 up to {MAX_CHANNELS}"
    sizes = {"results": batch * y * x * channels, "context": context.numel(), "depth": depth.numel()}
    empty = nonempty(depth=depth, context=context)
    return first_of(numbered_by_int32(PROVIDER, sizes), empty, chip_lacks("bev_pool_v3"))


def _shape(call: VoxelPoolLiftCall) -> list[int]:
    """[B,Z,Y,X,C] of the result, as the vendor numbers cells."""
    x, y, _ = call.size
    return [call.context.shape[0], 1, y, x, call.context.shape[2]]


def _tensors(call: VoxelPoolLiftCall) -> tuple[Tensor, Tensor]:
    """depth and feat (B,N,H,W,C), contiguous."""
    return call.depth.contiguous(), call.context.permute(0, 1, 3, 4, 2).contiguous()


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
    probe=package_has(PROVIDER, ("bev_pool_v3", "_C.npu_bev_pool_v3_backward"), MX_DRIVING_CURE),
)
