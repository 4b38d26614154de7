"""The portable operators written in operators of torch, for graphs that run where portbev is not installed.

A graph is traced with the operators as they are, and each is then replaced by its form here. Forms are written for
what exports and their runtimes have: bilinear samples are ``grid_sample`` (ONNX: GridSample), sums into cells are
``index_add`` (ScatterND). They are for inference: the kernels of :mod:`portbev.ops` remain what training uses.

Deformable convolution is samples and a product of matrices as well, not ONNX's DeformConv (opset 19): of ONNX Runtime's
CPU versions only recent ones compute that (1.32 does), and the graph is the same in all formats. A sample at a
place that is not finite is not defined here, where the operators read zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from portbev.errors import ExportError
from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall


def deform_conv2d(call: DeformConv2dCall) -> Tensor:
    """Deformable convolution: all taps sampled at once, then a product of matrices per group."""
    input, offset, weight, mask, bias, stride, padding, dilation, groups, moved = call
    (batch, channels, height, width), (out_channels, _, rows, columns) = input.shape, weight.shape
    out_height, out_width = offset.shape[2:]
    taps = rows * columns
    dy, dx = offset.reshape(batch, moved, rows, columns, 2, out_height, out_width).unbind(4)
    y = _ticks(out_height, stride[0], -padding[0], offset)[:, None] + dy
    x = _ticks(out_width, stride[1], -padding[1], offset) + dx
    y = y + _ticks(rows, dilation[0], 0, offset)[:, None, None, None]
    x = x + _ticks(columns, dilation[1], 0, offset)[:, None, None]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    grid = grid.reshape(batch * moved, taps * out_height, out_width, 2)
    image = input.reshape(batch * moved, channels // moved, height, width)
    sampled = _sample(image, grid).reshape(batch, channels, taps, out_height * out_width)
    if mask is not None:
        shares = mask.reshape(batch, moved, 1, taps, out_height * out_width)
        sampled = (sampled.reshape(batch, moved, channels // moved, taps, -1) * shares).reshape(sampled.shape)
    columns_of = sampled.reshape(batch, groups, channels // groups * taps, out_height * out_width)
    out = weight.reshape(groups, out_channels // groups, -1) @ columns_of
    out = out.reshape(batch, out_channels, out_height, out_width)
    return out if bias is None else out + bias[:, None, None]


def ms_deform_attn(call: MsDeformAttnCall) -> Tensor:
    """Multi-scale deformable attention in which every image has as many queries."""
    value, locations, weights, _, _ = call
    batch, _, heads, channels = value.shape
    points = locations.shape[3]
    out: Tensor | None = None
    for level in call.levels():
        pixels = slice(level.first, level.first + level.height * level.width)
        maps = value[:, pixels].permute(0, 2, 3, 1).reshape(batch * heads, channels, level.height, level.width)
        here = locations[:, :, level.number]
        grid = _by_head(2 * here - 1, batch).reshape(batch * heads, -1, points, 2)
        share = _by_head(weights[:, :, level.number], batch).reshape(batch * heads, 1, -1, points)
        part = (_sample(maps, grid) * share).sum(-1)  # (B*M, D, Q)
        out = part if out is None else out + part
    assert out is not None
    return out.reshape(batch, heads * channels, -1).transpose(1, 2).reshape(-1, heads * channels)


def deform_attn(call: DeformAttnCall) -> Tensor:
    """Deformable attention from offsets, logits and references, in which every image has as many queries."""
    if call.query is not None:
        raise ExportError("deform_attn with a list of pairs has no form in an export: its length is not fixed")
    locations, weights = sampling(call)
    return ms_deform_attn(MsDeformAttnCall(call.value, locations, weights, call.counts, call.shapes))


def sampling(call: DeformAttnCall) -> tuple[Tensor, Tensor]:
    """Locations (R, M, L, P, 2) and weights (R, M, L, P) of each row, as :meth:`DeformAttnCall.sampling` has them.

    A level's sizes are numbers of the graph: a tensor of constants that is made on the way cannot be decomposed.
    """
    steps = []
    for number, (height, width) in enumerate(zip(call.shapes[::2], call.shapes[1::2], strict=True)):
        offsets = call.offsets[:, :, number]
        steps.append(torch.stack([offsets[..., 0] / width, offsets[..., 1] / height], -1))
    of_rows = call.of_rows(torch.stack(steps, 2))
    repeats = of_rows.shape[3] // call.reference.shape[2]
    locations = of_rows + call.reference.repeat(1, 1, repeats, 1)[:, None]
    return locations, call.of_rows(call.weights())


def voxel_pool(call: VoxelPoolCall) -> Tensor:
    """Sums over the points of each cell; points outside go to a cell more, which is dropped."""
    features, voxels, size = call
    batch, _, channels = features.shape
    return _summed(features.reshape(-1, channels), _cells(voxels, size), batch, size)


def voxel_pool_lift(call: VoxelPoolLiftCall) -> Tensor:
    """As :func:`voxel_pool`, of depth probability times context. It holds the features of all points at once."""
    depth, context, voxels, size = call
    batch, channels = depth.shape[0], context.shape[2]
    points = depth[..., None] * context.movedim(2, -1)[:, :, None]
    return _summed(points.reshape(-1, channels), _cells(voxels.flatten(1, 4), size), batch, size)


def gathered_attn(
    value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor, image: Tensor
) -> Tensor:
    """Multi-scale deformable attention of rows that each name their image: (R, M*D).

    Args:
        value: (B, S, M, D).
        shapes: (h, w) of each level.
        locations: (R, M, L, P, 2) from 0 to 1.
        weights: (R, M, L, P).
        image: (R,) int64, the image of each row.
    """
    batch, pixels, heads, channels = value.shape
    rows = value.reshape(batch * pixels * heads, channels)
    head = torch.arange(heads, device=value.device)[:, None]
    first, out = 0, None
    for number, (height, width) in enumerate(shapes):
        here = locations[:, :, number]
        x, y = here[..., 0] * width - 0.5, here[..., 1] * height - 0.5  # (R, M, P)
        left, upper = x.floor(), y.floor()
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            px, py = left + column, upper + row
            inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
            share = (1 - (x - px).abs()) * (1 - (y - py).abs()) * weights[:, :, number]
            share = torch.where(inside, share, torch.zeros_like(share))
            pixel = py.clamp(0, height - 1).long() * width + px.clamp(0, width - 1).long() + first
            index = (image[:, None, None] * pixels + pixel) * heads + head
            part = (rows.index_select(0, index.reshape(-1)).reshape(*index.shape, channels) * share[..., None]).sum(
                2
            )  # (R, M, D)
            out = part if out is None else out + part
        first += height * width
    assert out is not None
    return out.flatten(1)


def fft(input: Tensor, inverse: bool, norm: str) -> Tensor:
    """The transform of the last axis."""
    return torch.fft.ifft(input, norm=norm) if inverse else torch.fft.fft(input, norm=norm)


def forms() -> dict[Any, Callable[..., Any]]:
    """For each operator of ours that a graph may hold its form, as a table of decompositions."""
    ops = torch.ops.portbev
    return {
        ops.deform_conv2d.default: lambda *a: deform_conv2d(DeformConv2dCall(*a)),
        ops.ms_deform_attn.default: lambda *a: ms_deform_attn(MsDeformAttnCall(*a)),
        ops.deform_attn.default: lambda *a: deform_attn(DeformAttnCall(*a)),
        ops.voxel_pool.default: lambda *a: voxel_pool(VoxelPoolCall(*a)),
        ops.voxel_pool_lift.default: lambda *a: voxel_pool_lift(VoxelPoolLiftCall(*a)),
        ops.fft.default: fft,
    }


def _ticks(count: int, step: int, start: int, like: Tensor) -> Tensor:
    """``start``, ``start + step`` ... in the dtype of ``like``."""
    return torch.arange(count, dtype=like.dtype, device=like.device) * step + start


def _sample(maps: Tensor, grid: Tensor) -> Tensor:
    return grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _by_head(rows: Tensor, batch: int) -> Tensor:
    """(B*Q, M, ...) to (B, M, Q, ...)."""
    return rows.unflatten(0, (batch, -1)).transpose(1, 2)


def _cells(voxels: Tensor, size: list[int]) -> Tensor:
    """(B*P,) int64 number of the cell of each point among all images' cells; one more for those outside."""
    x_cells, y_cells, z_cells = size
    batch = voxels.shape[0]
    x, y, z = voxels.long().unbind(-1)
    inside = (x >= 0) & (x < x_cells) & (y >= 0) & (y < y_cells) & (z >= 0) & (z < z_cells)
    image = torch.arange(batch, device=voxels.device)[:, None]
    cell = (image * y_cells + y) * x_cells + x
    return torch.where(inside, cell, batch * y_cells * x_cells).reshape(-1)


def _summed(points: Tensor, cells: Tensor, batch: int, size: list[int]) -> Tensor:
    """(B, Y, X, C) sums of ``points`` (B*P, C) in their ``cells``."""
    x_cells, y_cells, _ = size
    out = points.new_zeros(batch * y_cells * x_cells + 1, points.shape[1]).index_add(0, cells, points)
    return out[:-1].reshape(batch, y_cells, x_cells, -1)
