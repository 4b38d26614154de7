"""Stand-in for ``mx_driving`` (DrivingSDK), as its wheels 26.1.0 and 26.2.0 have it for Atlas A2.

Like the real ones these are autograd functions, some followed by a permutation outside of it. What the wheel computes
wrong without a word is refused here, or comes out as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.reference.voxel_pool_lift import pool_by_ranks, pool_by_ranks_backward
from portbev.ops.voxel_pool import VOXEL_POOL, VoxelPoolCall
from portbev_cpu.kernels import ms_deform_attn as ms_deform_attn_cpu
from portbev_emulated.standins import reference
from portbev_emulated.standins.checks import integers, output_size, pair, require, tensor

Sizes = int | tuple[int, ...]  # what the library takes for stride, padding and dilation
FLOAT, INT = torch.float32, torch.int32


class _DeformConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, tail: tuple[Any, ...]) -> Any:
        ctx.save_for_backward(x, offset, mask, weight)
        ctx.tail = tail
        return reference.forward("deform_conv2d", DeformConv2dCall(x, offset, weight, mask, None, *tail))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, offset, mask, weight = ctx.saved_tensors
        call = DeformConv2dCall(x, offset, weight, mask, None, *ctx.tail)
        name = "deform_conv2d" if mask is None else "modulated_deform_conv2d"
        second = mask is not None and _second_set(x, call.groups)
        require(mask is None or second, name, "the gradient of the offsets comes out scrambled for these channels")
        require(second or x.shape[1] <= 512, name, "the backward is wrong for more than 512 input channels")
        grad_x, grad_offset, grad_weight, grad_mask = reference.backward("deform_conv2d", grad.contiguous(), call)
        if mask is None:
            return _channels_last(grad_x), grad_offset, None, _channels_last(grad_weight), None
        grad_mask = grad_mask.where(mask != 0, float("nan"))  # the wheel's kernel divides by the mask
        return _channels_last(grad_x), _channels_last(grad_offset), grad_mask, grad_weight, None


class _VoxelPooling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, geom_xyz: Tensor, features: Tensor, voxel_num: list[int]) -> Any:
        ctx.save_for_backward(geom_xyz)
        ctx.size = voxel_num
        return reference.forward("voxel_pool", VoxelPoolCall(features, geom_xyz, voxel_num))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (geom_xyz,) = ctx.saved_tensors
        call = VOXEL_POOL.backward_call(grad, geom_xyz, ctx.size)
        return None, reference.backward("voxel_pool", grad.contiguous(), call), None


class _BevPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, depth: Tensor, feat: Tensor, ranks: tuple[Tensor, Tensor, Tensor], shape: list[int]) -> Any:
        ctx.save_for_backward(depth, feat, *ranks)
        batch, z, y, x, channels = shape
        rows = feat.reshape(-1, channels)
        pooled = reference.on_host(pool_by_ranks, depth.reshape(-1), rows, *_long(ranks), batch * z * y * x)
        return pooled.view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        depth, feat, *ranks = ctx.saved_tensors
        channels = feat.shape[-1]
        rows = feat.reshape(-1, channels)
        found = reference.on_host(
            pool_by_ranks_backward, grad.reshape(-1, channels), depth.reshape(-1), rows, *_long(ranks)
        )
        return found[0].view(depth.shape), found[1].view(feat.shape), None, None


class _MultiScaleDeformableAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, locations: Tensor, weights: Tensor, shapes: list[int]) -> Any:
        ctx.save_for_backward(value, locations, weights)
        ctx.shapes = shapes
        rows = reference.on_host(ms_deform_attn_cpu.forward, _rows(value, locations, weights, shapes))
        return rows.view(*locations.shape[:2], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        value, locations, weights = ctx.saved_tensors
        call = _rows(value, locations, weights, ctx.shapes)
        found = reference.on_host(ms_deform_attn_cpu.backward, grad.contiguous().flatten(0, 1), call)
        return found[0], found[1].view(locations.shape), found[2].view(weights.shape), None


def _rows(value: Tensor, locations: Tensor, weights: Tensor, shapes: list[int]) -> MsDeformAttnCall:
    images, queries = locations.shape[:2]
    counts = torch.full((images,), queries)
    return MsDeformAttnCall(value, locations.flatten(0, 1), weights.flatten(0, 1), counts, shapes)


def _second_set(x: Tensor, groups: int) -> bool:
    """Whether a call with a mask takes the wheel's second set of kernels."""
    return groups == 1 and x.shape[1] in (256, 512)


def _channels_last(result: Tensor) -> Tensor:
    """The same values, strided: the wheel hands back views."""
    return result.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _long(ranks: Sequence[Tensor]) -> list[Tensor]:
    return [one.long() for one in ranks]


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Any:
    """x (n,c_in,h,w), offset (n,2*k*k,ho,wo) as mmcv's, weight (c_out,c_in/groups,k,k), float32 -> (n,c_out,ho,wo).

    ``bias`` and ``im2col_step`` are ignored, as in the wheel.
    """
    tail = _check_deform("deform_conv2d", x, offset, None, weight, stride, padding, dilation, groups, deformable_groups)
    return _DeformConv2d.apply(x, offset, None, weight, tail)


def modulated_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    deformable_groups: int = 1,
) -> Any:
    """As :func:`deform_conv2d` with mask (n,k*k,ho,wo); ``bias`` must be None (the wheel ignores it)."""
    name = "modulated_deform_conv2d"
    require(bias is None, name, "bias is ignored, pass None")
    require(mask is not None, name, "mask must be a tensor")
    require(tuple(weight.shape[2:]) == (3, 3), name, "Kernel size only support 3")
    require(x.shape[1] % 64 == 0 and weight.shape[0] % 64 == 0, name, "Channel only support 64-aligned")
    plain = all(pair(name, label, value, 0) == [1, 1] for label, value in _steps(stride, padding, dilation))
    require(plain or not _second_set(x, groups), name, "stride, padding and dilation are taken to be 1")
    tail = _check_deform(name, x, offset, mask, weight, stride, padding, dilation, groups, deformable_groups)
    return _DeformConv2d.apply(x, offset, mask, weight, tail)


def npu_voxel_pooling_train(geom_xyz: Tensor, features: Tensor, voxel_num: list[int]) -> Any:
    """geom_xyz int32 (B,N,3), features (B,N,C), voxel_num [x,y,z] -> (B,Y,X,C)."""
    name = "npu_voxel_pooling_train"
    tensor(name, "features", features, FLOAT, (None, None, None))
    batch, points, channels = features.shape
    tensor(name, "geom_xyz", geom_xyz, INT, (batch, points, 3))
    x, y, z = integers(name, "voxel_num", voxel_num, 3, 1)
    require(batch <= 128, name, f"B must be at most 128, is {batch}")
    require(points <= 100_000, name, f"N must be at most 100000, is {points}")
    require(channels <= 256, name, f"C must be at most 256, is {channels}")
    require(x <= 1000 and y <= 1000 and z <= 10, name, f"voxel_num must be at most [1000, 1000, 10], is {[x, y, z]}")
    require(batch * points * channels <= 100_000_000, name, "B * N * C must be at most 1e8")
    require(batch * y * x * channels <= 100_000_000, name, "B * Y * X * C must be at most 1e8")
    return _VoxelPooling.apply(geom_xyz, features, [x, y, z])


def bev_pool_v3(
    depth: Tensor,
    feat: Tensor,
    ranks_depth: Tensor,
    ranks_feat: Tensor,
    ranks_bev: Tensor,
    bev_feat_shape: list[int],
) -> Tensor:
    """depth (B,N,D,H,W), feat (B,N,H,W,C) float32, ranks int32 (points,), [B,Z,Y,X,C] -> (B,C,Z,Y,X)."""
    name = "bev_pool_v3"
    tensor(name, "depth", depth, FLOAT, (None,) * 5)
    batch, cameras, _, height, width = depth.shape
    tensor(name, "feat", feat, FLOAT, (batch, cameras, height, width, None))
    channels = feat.shape[-1]
    shape = integers(name, "bev_feat_shape", bev_feat_shape, 5, 1)
    fits = shape[0] == batch and shape[4] == channels
    require(fits, name, f"bev_feat_shape must be [{batch}, Z, Y, X, {channels}], is {shape}")
    require(channels % 8 == 0 and channels <= 360, name, f"C must be a multiple of 8 up to 360, is {channels}")
    require(torch.Size(shape).numel() <= 2**31, name, "B * Z * Y * X * C must be at most 2^31")
    cells = torch.Size(shape[:4]).numel()
    for label, ranks in {"ranks_depth": ranks_depth, "ranks_feat": ranks_feat, "ranks_bev": ranks_bev}.items():
        tensor(name, label, ranks, INT, (len(ranks_bev),))
        limit = {"ranks_depth": depth.numel(), "ranks_feat": feat.numel() // channels}.get(label, cells)
        require(len(ranks) > 0, name, f"{label} must not be empty")
        require(bool(((ranks >= 0) & (ranks < limit)).all()), name, f"{label} must be in [0, {limit})")
    pooled: Tensor = _BevPool.apply(depth, feat, (ranks_depth, ranks_feat, ranks_bev), shape)
    return pooled.permute(0, 4, 1, 2, 3).contiguous()


def multi_scale_deformable_attn(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Any:
    """value (B,S,M,D), shapes (L,2) [h,w] and starts (L,) int, locations (B,Q,M,L,P,2) [x,y], weights (B,Q,M,L,P), all
    float16 or all float32 -> (B,Q,M*D)."""
    name = "multi_scale_deformable_attn"
    kind = value.dtype if isinstance(value, Tensor) and value.dtype == torch.float16 else FLOAT
    tensor(name, "value", value, kind, (None,) * 4)
    batch, pixels, heads, width = value.shape
    index = value_spatial_shapes.dtype if isinstance(value_spatial_shapes, Tensor) else INT
    require(index in (INT, torch.int64), name, f"value_spatial_shapes must be int32 or int64, is {index}")
    tensor(name, "value_spatial_shapes", value_spatial_shapes, index, (None, 2))
    levels = len(value_spatial_shapes)
    tensor(name, "value_level_start_index", value_level_start_index, index, (levels,))
    tensor(name, "sampling_locations", sampling_locations, kind, (batch, None, heads, levels, None, 2))
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    tensor(name, "attention_weights", attention_weights, kind, (batch, queries, heads, levels, points))
    require(0 not in value.shape and 0 not in sampling_locations.shape, name, "tensors must not be empty")
    require(width % 8 == 0 and width <= 256, name, f"embed_dims must be a multiple of 8 up to 256, is {width}")
    require(heads <= 8, name, f"num_heads must be at most 8, is {heads}")
    require(points * levels <= 64, name, f"num_points * num_levels must be at most 64, is {points * levels}")
    shapes = value_spatial_shapes.tolist()
    sizes = [height * across for height, across in shapes]
    require(min(sizes) > 0 and sum(sizes) == pixels, name, f"value has {pixels} keys, value_spatial_shapes {shapes}")
    starts = [sum(sizes[:level]) for level in range(levels)]
    require(value_level_start_index.tolist() == starts, name, f"value_level_start_index must be {starts}")
    flat = [size for shape in shapes for size in shape]
    return _MultiScaleDeformableAttention.apply(value, sampling_locations, attention_weights, flat)


def _steps(stride: Sizes, padding: Sizes, dilation: Sizes) -> list[tuple[str, Sizes]]:
    return [("stride", stride), ("padding", padding), ("dilation", dilation)]


def _check_deform(
    name: str,
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    deformable_groups: int,
) -> tuple[Any, ...]:
    """Arguments of a deformable convolution against the documentation; returns the fields from ``stride`` on."""
    tensor(name, "x", x, FLOAT, (None,) * 4)
    batch, channels, height, width = x.shape
    require(deformable_groups == 1, name, "deformable_groups must be 1")
    require(channels % 64 == 0, name, f"c_in must be a multiple of 64, is {channels}")
    tensor(name, "weight", weight, FLOAT, (None, channels // groups, None, None))
    kernel = weight.shape[2]
    require(weight.shape[3] == kernel, name, f"weight must be (c_out, c_in, k, k), is {tuple(weight.shape)}")
    strides, pads = pair(name, "stride", stride, 1), pair(name, "padding", padding, 0)
    dilations = pair(name, "dilation", dilation, 1)
    out = [output_size(s, kernel, *three) for s, *three in zip((height, width), strides, pads, dilations, strict=True)]
    tensor(name, "offset", offset, FLOAT, (batch, 2 * kernel * kernel, *out))
    if mask is not None:
        tensor(name, "mask", mask, FLOAT, (batch, kernel * kernel, *out))
    if mask is None or not _second_set(x, groups):
        row = 4 * (12 if mask is None else 13) * (-(-kernel * kernel * out[1] // 64) * 64) + 104 * channels
        require(row <= 192 * 1024, name, f"a row of {out[1]} results does not fit the local memory")
    return strides, pads, dilations, groups, deformable_groups


FUNCTIONS: dict[str, object] = {
    "deform_conv2d": deform_conv2d,
    "modulated_deform_conv2d": modulated_deform_conv2d,
    "multi_scale_deformable_attn": multi_scale_deformable_attn,
    "npu_voxel_pooling_train": npu_voxel_pooling_train,
    "bev_pool_v3": bev_pool_v3,
}
