"""Reference kernel of multi-scale deformable attention: rows of channels, gathered and weighted corner by corner.

It goes block by block of queries, so that the samples of a block stay in a processor's cache. The values of an image
are rows of D channels, numbered ``pixel * M + head``; a point reads four of them, its corners: upper left, upper right,
lower left, lower right. float16 and bfloat16 are computed in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from portbev.kernels import REFERENCE, Kernel
from portbev.ops.ms_deform_attn import Level, MsDeformAttnCall
from portbev.ops.precision import widened

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Axis:
    """Where points lie along one axis: between the pixels ``near`` and ``far`` (int32, brought into the map)."""

    near: Tensor
    far: Tensor
    near_share: Tensor  # 1 - fraction, zero if the pixel is outside
    far_share: Tensor  # fraction, zero if the pixel is outside
    near_slope: Tensor  # derivatives of the shares by the pixel position: -1 and 1, zero if the pixel is outside
    far_slope: Tensor


def axis(positions: Tensor, size: int) -> Axis:
    """Neighbours of ``positions`` (any shape, 0 to 1 over ``size`` pixels) and their bilinear shares."""
    pixel = (positions * size).sub_(0.5)
    pixel = torch.where((pixel > -1) & (pixel < size), pixel, -2.0)  # outside, and NaN: no corner is inside
    floor = pixel.floor()
    fraction = pixel.sub_(floor)
    near_inside = ((floor >= 0) & (floor < size)).to(floor.dtype)
    far_inside = ((floor >= -1) & (floor < size - 1)).to(floor.dtype)
    near = floor.int()
    far = near + 1
    shares = (1 - fraction) * near_inside, fraction * far_inside
    return Axis(near.clamp_(0, size - 1), far.clamp_(0, size - 1), *shares, -near_inside, far_inside)


@dataclass(frozen=True)
class Corners:
    """The four corners of points in one level; tensors have the shape of the points."""

    y: Axis
    x: Axis
    level: Level
    heads: Tensor  # head of each point, shaped to broadcast

    def rows(self, corner: int) -> Tensor:
        """Numbers of the value rows of ``corner``, flat int64."""
        y = self.y.far if corner >= 2 else self.y.near
        x = self.x.far if corner % 2 else self.x.near
        pixels = (y * self.level.width).add_(x).add_(self.level.first)
        return pixels.long().mul_(self.heads.numel()).add_(self.heads).reshape(-1)

    def share(self, corner: int) -> Tensor:
        """Bilinear weight of ``corner``."""
        return self._y(corner) * self._x(corner)

    def slopes(self, corner: int) -> tuple[Tensor, Tensor]:
        """Derivatives of :meth:`share` by y and x in pixels."""
        slope_y = self.y.far_slope if corner >= 2 else self.y.near_slope
        slope_x = self.x.far_slope if corner % 2 else self.x.near_slope
        return slope_y * self._x(corner), slope_x * self._y(corner)

    def _y(self, corner: int) -> Tensor:
        return self.y.far_share if corner >= 2 else self.y.near_share

    def _x(self, corner: int) -> Tensor:
        return self.x.far_share if corner % 2 else self.x.near_share


def corners_of(locations: Tensor, level: Level) -> Corners:
    """Corners of ``locations`` (rows, M, L, P, 2) in ``level``; the points are (rows, M, P)."""
    heads = torch.arange(locations.shape[1], device=locations.device)[:, None]
    here = locations[:, :, level.number]
    return Corners(axis(here[..., 1], level.height), axis(here[..., 0], level.width), level, heads)


def blocks(queries: slice, bytes_each: int) -> Iterator[slice]:
    """Runs of ``queries`` whose samples fit into a processor's cache."""
    length = max(1, BLOCK_BYTES // max(1, bytes_each))
    for start in range(queries.start, queries.stop, length):
        yield slice(start, min(start + length, queries.stop))


def forward(call: MsDeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    value, locations, weights = widened(call.value), widened(call.locations), widened(call.weights)
    M, D = value.shape[2:]
    P = locations.shape[3]
    out = value.new_zeros(locations.shape[0], M, D)
    for image, queries in call.images():
        rows = value[image].reshape(-1, D)
        for block in blocks(queries, M * P * D * value.element_size()):
            length = block.stop - block.start
            for level in call.levels():
                corners = corners_of(locations[block], level)
                attention_weights = weights[block, :, level.number]
                samples = value.new_zeros(length * M * P, D)
                for corner in range(4):
                    share = (corners.share(corner) * attention_weights).reshape(-1, 1)
                    samples.add_(rows.index_select(0, corners.rows(corner)).mul_(share))
                out[block] += samples.reshape(length, M, P, D).sum(2)
    return out.reshape(-1, M * D).to(call.value.dtype)


def backward(grad_out: Tensor, call: MsDeformAttnCall) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by value, locations and weights. Value rows add up block by block, level by level, corner by
    corner."""
    value, locations, weights = widened(call.value), widened(call.locations), widened(call.weights)
    M, D = value.shape[2:]
    P = locations.shape[3]
    grad_out = widened(grad_out).reshape(-1, M, 1, D)
    grad_value = torch.zeros_like(value, memory_format=torch.contiguous_format)
    grad_x, grad_y, grad_weights = (torch.zeros_like(weights, memory_format=torch.contiguous_format) for _ in range(3))
    for image, queries in call.images():
        rows, grad_rows = value[image].reshape(-1, D), grad_value[image].view(-1, D)
        for block in blocks(queries, M * P * D * value.element_size()):
            grad_samples = grad_out[block].expand(-1, -1, P, -1).reshape(-1, D)
            for level in call.levels():
                corners = corners_of(locations[block], level)
                here = (block, slice(None), level.number)
                attention_weights = weights[here]
                for corner in range(4):
                    numbers, share = corners.rows(corner), corners.share(corner)
                    dot = (rows.index_select(0, numbers) * grad_samples).sum(1).reshape(share.shape)
                    slope_y, slope_x = corners.slopes(corner)
                    grad_weights[here] += dot * share
                    grad_y[here] += dot * slope_y
                    grad_x[here] += dot * slope_x
                    grad_rows.index_add_(0, numbers, grad_samples * (share * attention_weights).reshape(-1, 1))
                grad_y[here] *= attention_weights * level.height
                grad_x[here] *= attention_weights * level.width
    grad_locations = torch.stack((grad_x, grad_y), -1)
    return (
        grad_value.to(call.value.dtype),
        grad_locations.to(call.locations.dtype),
        grad_weights.to(call.weights.dtype),
    )


KERNEL = Kernel("ms_deform_attn", REFERENCE, forward, backward, priority=0)
