"""Calls of portable operators as models make them, on fewer rows and smaller maps.

Their definitions are sums over all pixels: at a model's full size they take minutes or more memory than there is. What
kernels choose their way by is kept: channels, heads, levels, points, groups, taps, lengths of transforms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from portbev.bench.cases import META, Case
from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.dropout import DropoutCall
from portbev.ops.fft import FftCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall

ROWS, PIXELS, IMAGES = 48, 360, 6
"""Of deformable attention: queries, pixels of all levels and images."""
SIDE, CHANNELS = 9, 256
"""Of deformable convolution: pixels along a side, and channels."""
POINTS, CELLS = 4096, 24
"""Of pooling: points, and cells along a side."""


def smaller(case: Case) -> Case:
    """The case on fewer rows; the case itself where it is small, or nothing is known of its operator."""
    shrink = _SHRINK.get(type(case.call))
    call = case.call if shrink is None else shrink(case.call)
    if all(_shape(one) == _shape(other) for one, other in zip(call, case.call, strict=True)):
        return case
    return replace(case, call=call, known={})


def _shape(value: Any) -> Any:
    return tuple(value.shape) if isinstance(value, Tensor) else value


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=META)


def _levels(shapes: list[int]) -> list[int]:
    """Heights and widths of maps with at most :data:`PIXELS` pixels."""
    pixels = sum(h * w for h, w in zip(shapes[::2], shapes[1::2], strict=True))
    factor = min(1.0, math.sqrt(PIXELS / pixels))
    return [max(1, int(size * factor)) for size in shapes]


def _counts(counts: Tensor) -> Tensor:
    """Rows of at most :data:`IMAGES` images, :data:`ROWS` in all, as ragged as they were."""
    kept = counts[:IMAGES]
    total = int(kept.sum())
    return kept if total <= ROWS else (kept * ROWS // total).clamp(min=1) * (kept > 0)


def _value(call: Any, counts: Tensor, shapes: list[int]) -> Tensor:
    pixels = sum(h * w for h, w in zip(shapes[::2], shapes[1::2], strict=True))
    return _empty(call.value, len(counts), pixels, *call.value.shape[2:])


def _attention(call: MsDeformAttnCall) -> MsDeformAttnCall:
    counts, shapes = _counts(call.counts), _levels(call.shapes)
    rows = int(counts.sum())
    return MsDeformAttnCall(
        _value(call, counts, shapes),
        _empty(call.locations, rows, *call.locations.shape[1:]),
        _empty(call.weights, rows, *call.weights.shape[1:]),
        counts,
        shapes,
    )


def _fused(call: DeformAttnCall) -> DeformAttnCall:
    counts, shapes = _counts(call.counts), _levels(call.shapes)
    rows = int(counts.sum())
    queries = rows if call.query is None else min(call.offsets.shape[0], ROWS)
    return call._replace(
        value=_value(call, counts, shapes),
        offsets=_empty(call.offsets, queries, *call.offsets.shape[1:]),
        logits=_empty(call.logits, queries, *call.logits.shape[1:]),
        reference=_empty(call.reference, rows, *call.reference.shape[1:]),
        query=None if call.query is None else _empty(call.query, rows),
        counts=counts,
        shapes=shapes,
    )


def _convolution(call: DeformConv2dCall) -> DeformConv2dCall:
    (_, channels, H, W), (out, _, kh, kw) = call.input.shape, call.weight.shape
    height, width = min(H, SIDE * call.stride[0]), min(W, (SIDE - 1) * call.stride[1])
    whole = math.lcm(call.groups, call.deform_groups)
    channels, out = (n if n <= CHANNELS else max(CHANNELS // whole, 1) * whole for n in (channels, out))
    places = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((height, width), call.padding, call.dilation, (kh, kw), call.stride, strict=True)
    ]
    return call._replace(
        input=_empty(call.input, 1, channels, height, width),
        offset=_empty(call.offset, 1, call.offset.shape[1], *places),
        weight=_empty(call.weight, out, channels // call.groups, kh, kw),
        mask=None if call.mask is None else _empty(call.mask, 1, call.mask.shape[1], *places),
        bias=None if call.bias is None else _empty(call.bias, out),
    )


def _grid(size: list[int]) -> list[int]:
    return [min(size[0], CELLS), min(size[1], CELLS - 1), size[2]]


def _pool(call: VoxelPoolCall) -> VoxelPoolCall:
    batch, points, channels = call.features.shape
    points = min(points, POINTS)
    return VoxelPoolCall(
        _empty(call.features, min(batch, 2), points, channels),
        _empty(call.voxels, min(batch, 2), points, 3),
        _grid(call.size),
    )


def _lift(call: VoxelPoolLiftCall) -> VoxelPoolLiftCall:
    _, cameras, bins, height, width = call.depth.shape
    cameras, height, width = min(cameras, 3), min(height, 5), min(width, 6)
    bins = min(bins, max(1, POINTS // (cameras * height * width)))
    shape = (1, cameras, bins, height, width)
    return VoxelPoolLiftCall(
        _empty(call.depth, *shape),
        _empty(call.context, 1, cameras, call.context.shape[2], height, width),
        _empty(call.voxels, *shape, 3),
        _grid(call.size),
    )


def _leading(shape: tuple[int, ...], most: int, kept: int) -> list[int]:
    """A shape with at most ``most`` elements, or as few as one along each axis but the last ``kept``."""
    sizes = list(shape)
    while math.prod(sizes) > most:
        axis = max(range(len(sizes) - kept), key=lambda i: sizes[i], default=None)
        if axis is None or sizes[axis] == 1:
            break
        sizes[axis] = (sizes[axis] + 1) // 2
    return sizes


def _transform(call: FftCall) -> FftCall:
    shape = tuple(call.input.shape)
    return call._replace(input=_empty(call.input, *_leading(shape, 16 * shape[-1], 1)))


def _dropout(call: DropoutCall) -> DropoutCall:
    return call._replace(input=_empty(call.input, min(call.input.numel(), 1021)))  # a mask is counted, in one row


_SHRINK: dict[type, Callable[[Any], Any]] = {
    MsDeformAttnCall: _attention,
    DeformAttnCall: _fused,
    DeformConv2dCall: _convolution,
    VoxelPoolCall: _pool,
    VoxelPoolLiftCall: _lift,
    FftCall: _transform,
    DropoutCall: _dropout,
}
