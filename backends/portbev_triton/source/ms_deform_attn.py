"""Multi-scale deformable attention: a program takes a block of rows of one head, level by level.

The blocks of a head follow each other: what programs sample at the same time is a part of one image's values of one
head, which a small cache holds.
"""

from __future__ import annotations

import triton
import triton.language as tl

from portbev_triton.source.attention import (
    block_of_rows,
    level_of,
    load_pairs,
    sample,
    sample_backward,
    start_of,
    store_pairs,
)


@triton.jit
def load_points(locations, weights, at, there, height, width):
    """Positions in pixels and weights of points; those that are not there lie outside of the map."""
    x, y = load_pairs(locations, at, there, -1.0)
    weight = tl.load(weights + at, mask=there, other=0.0).to(tl.float32)
    return x * width - 0.5, y * height - 0.5, weight


@triton.jit(do_not_specialize=["rows"])
def ms_deform_attn_kernel(
    value,  # (B, PIXELS, HEADS, CHANNELS) float
    locations,  # (rows, HEADS, LEVELS, POINTS, 2) float32
    weights,  # (rows, HEADS, LEVELS, POINTS) float32
    ends,  # (BLOCK_IMAGES,) int32
    levels,  # (LEVELS, 3) int32: height, width and first pixel
    out,  # (rows, HEADS, CHANNELS)
    rows,
    PIXELS: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    BLOCK_IMAGES: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_POINTS: tl.constexpr,
    BLOCK: tl.constexpr,  # points and rows of a tile: one a thread
):
    BLOCK_ROWS: tl.constexpr = BLOCK // BLOCK_POINTS
    head, row, there = block_of_rows(rows, BLOCK_ROWS)
    channel = tl.arange(0, BLOCK_CHANNELS)
    values = value + start_of(row, head, ends, BLOCK_IMAGES, PIXELS, HEADS, CHANNELS)
    of_head = row.to(tl.int64) * HEADS + head
    total = tl.zeros((BLOCK_POINTS, BLOCK_ROWS, BLOCK_CHANNELS), tl.float32)
    for level in range(LEVELS):
        height, width, first = level_of(levels, level)
        for point0 in range(0, POINTS, BLOCK_POINTS):
            point = point0 + tl.arange(0, BLOCK_POINTS)
            at = (of_head * LEVELS + level)[None, :] * POINTS + point[:, None]
            x, y, weight = load_points(
                locations, weights, at, there[None, :] & (point < POINTS)[:, None], height, width
            )
            total = sample(
                total,
                values,
                channel,
                x,
                y,
                weight,
                first,
                height,
                width,
                STRIDE=HEADS * CHANNELS,
                CHANNELS=CHANNELS,
                BLOCK_CHANNELS=BLOCK_CHANNELS,
            )
    result = tl.sum(total, axis=0).to(out.dtype.element_ty)
    at = of_head[:, None] * CHANNELS + channel[None, :]
    tl.store(out + at, result, mask=there[:, None] & (channel < CHANNELS)[None, :])


@triton.jit(do_not_specialize=["rows", "channel_stride"])
def ms_deform_attn_backward_kernel(
    grad_out,  # (rows, HEADS, CHANNELS) float
    value,  # as above
    locations,
    weights,
    ends,
    levels,
    sums,  # (B, PIXELS, HEADS, CHANNELS), added to: int64 if FIXED, else float32
    poisoned,  # the same, int8, if FIXED
    scale,  # (HEADS, CHANNELS) float32, if FIXED
    grad_locations,  # as locations
    grad_weights,  # as weights
    rows,
    channel_stride,
    PIXELS: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    FIXED: tl.constexpr,
    BLOCK_IMAGES: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_POINTS: tl.constexpr,
    BLOCK: tl.constexpr,
    SPREAD: tl.constexpr,
):
    BLOCK_ROWS: tl.constexpr = BLOCK // BLOCK_POINTS
    head, row, there = block_of_rows(rows, BLOCK_ROWS)
    channel = tl.arange(0, BLOCK_CHANNELS)
    start = start_of(row, head, ends, BLOCK_IMAGES, PIXELS, HEADS, CHANNELS)
    of_head = row.to(tl.int64) * HEADS + head
    grads = grad_out + of_head[:, None] * CHANNELS + channel[None, :]
    grad = tl.load(grads, mask=there[:, None] & (channel < CHANNELS)[None, :], other=0.0).to(tl.float32)
    factor = channel
    if FIXED:
        factor = tl.load(scale + head * CHANNELS + channel, mask=channel < CHANNELS, other=1.0)
    for level in range(LEVELS):
        height, width, first = level_of(levels, level)
        for point0 in range(0, POINTS, BLOCK_POINTS):
            point = point0 + tl.arange(0, BLOCK_POINTS)
            at = (of_head * LEVELS + level)[None, :] * POINTS + point[:, None]
            mask = there[None, :] & (point < POINTS)[:, None]
            x, y, weight = load_points(locations, weights, at, mask, height, width)
            nothing = tl.zeros_like(weight)
            grad_weight, grad_x, grad_y = sample_backward(
                nothing,
                nothing,
                nothing,
                grad,
                value + start,
                sums + start,
                poisoned + start,
                factor,
                channel,
                x,
                y,
                weight,
                first,
                height,
                width,
                channel_stride,
                STRIDE=HEADS * CHANNELS,
                CHANNELS=CHANNELS,
                BLOCK_CHANNELS=BLOCK_CHANNELS,
                FIXED=FIXED,
                SPREAD=SPREAD,
            )
            tl.store(grad_weights + at, grad_weight.to(grad_weights.dtype.element_ty), mask=mask)
            store_pairs(grad_locations, at, grad_x * weight * width, grad_y * weight * height, mask)
