"""Reference kernel of multi-scale deformable attention, in plain torch.

Arguments as in the operator's schema: value (B,S,M,D), locations (R,M,L,P,2), weights (R,M,L,P), ``counts`` rows for
each image, ``shapes`` h0, w0, h1, w1 ... of the levels. The values of an image are rows of D channels, numbered
``pixel * M + head``; a point reads four of them, its corners: upper left, upper right, lower left, lower right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from portbev.ops.precision import widened

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Level:
    """A feature map among the pixels of an image."""

    number: int
    first: int  # its first pixel
    height: int
    width: int


def levels_of(shapes: list[int]) -> list[Level]:
    """The levels of ``shapes`` = [h0, w0, h1, w1, ...]."""
    levels, first = [], 0
    for number, (height, width) in enumerate(zip(shapes[::2], shapes[1::2], strict=True)):
        levels.append(Level(number, first, height, width))
        first += height * width
    return levels


def images_of(counts: list[int]) -> Iterator[tuple[int, int, int]]:
    """(image, first row, end of its rows) of every image that has rows."""
    first = 0
    for image, count in enumerate(counts):
        if count:
            yield image, first, first + count
        first += count


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


def blocks(first: int, end: int, bytes_each: int) -> Iterator[tuple[int, int]]:
    """Runs of rows whose samples fit into a processor's cache."""
    length = max(1, _BLOCK_BYTES // max(1, bytes_each))
    for start in range(first, end, length):
        yield start, min(start + length, end)


def reference_forward(
    value: Tensor, locations: Tensor, weights: Tensor, counts: list[int], shapes: list[int]
) -> Tensor:
    """Definition of the operator; returns (R, M*D)."""
    v, where, attention = widened(value), widened(locations), widened(weights)
    _, _, M, D = v.shape
    P = where.shape[3]
    out = v.new_zeros(where.shape[0], M, D)
    for image, first_row, end_row in images_of(counts):
        rows = v[image].reshape(-1, D)
        for first, end in blocks(first_row, end_row, M * P * D * v.element_size()):
            for level in levels_of(shapes):
                corners = corners_of(where[first:end], level)
                strength = attention[first:end, :, level.number]
                samples = v.new_zeros((end - first) * M * P, D)
                for corner in range(4):
                    share = (corners.share(corner) * strength).reshape(-1, 1)
                    samples.add_(rows.index_select(0, corners.rows(corner)).mul_(share))
                out[first:end] += samples.reshape(end - first, M, P, D).sum(2)
    return out.reshape(-1, M * D).to(value.dtype)


def reference_backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, counts: list[int], shapes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by value, locations and weights. Value rows add up block by block, level by level, corner by
    corner."""
    v, where, attention = widened(value), widened(locations), widened(weights)
    _, _, M, D = v.shape
    P = where.shape[3]
    arrived = widened(grad).reshape(-1, M, 1, D)
    by_value = torch.zeros_like(v, memory_format=torch.contiguous_format)
    by_x, by_y, by_weight = (torch.zeros_like(attention, memory_format=torch.contiguous_format) for _ in range(3))
    for image, first_row, end_row in images_of(counts):
        rows, by_rows = v[image].reshape(-1, D), by_value[image].view(-1, D)
        for first, end in blocks(first_row, end_row, M * P * D * v.element_size()):
            upstream = arrived[first:end].expand(-1, -1, P, -1).reshape(-1, D)
            for level in levels_of(shapes):
                corners = corners_of(where[first:end], level)
                here = (slice(first, end), slice(None), level.number)
                strength = attention[here]
                for corner in range(4):
                    numbers, share = corners.rows(corner), corners.share(corner)
                    seen = (rows.index_select(0, numbers) * upstream).sum(1).reshape(share.shape)
                    slope_y, slope_x = corners.slopes(corner)
                    by_weight[here] += seen * share
                    by_y[here] += seen * slope_y
                    by_x[here] += seen * slope_x
                    by_rows.index_add_(0, numbers, upstream * (share * strength).reshape(-1, 1))
                by_y[here] *= strength * level.height
                by_x[here] *= strength * level.width
    by_location = torch.stack((by_x, by_y), -1)
    return by_value.to(value.dtype), by_location.to(locations.dtype), by_weight.to(weights.dtype)
