"""Deformable attention from offsets, logits and references: weights and locations stay in registers.

Forward: a program takes a block of rows of one head, as in :mod:`portbev_triton.source.ms_deform_attn`. Backward: a
block of queries, of each the rows one after another, so that the sums over a query's rows have one order.
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
def softmax_of(
    logits,
    first,  # (rows,) the first term of each row's softmax
    TERMS: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
):
    """The largest logit of each row, and the sum of the exponentials of what the others are below it."""
    term = tl.arange(0, BLOCK_TERMS)
    mask = (term < TERMS)[:, None]
    found = tl.load(logits + first[None, :] + term[:, None], mask=mask, other=float("-inf")).to(tl.float32)
    peak = tl.max(found, axis=0)
    return peak, tl.sum(tl.exp(found - peak[None, :]), axis=0)


@triton.jit
def reference_of(
    reference,
    row,
    level,
    point,
    there,
    POINT_LEVELS: tl.constexpr,  # of reference: 1, or all
    ANCHORS: tl.constexpr,
):
    """Reference points (points, rows) from 0 to 1; -1 where they are not there."""
    if POINT_LEVELS == 1:
        level = 0
    at = (row.to(tl.int64) * POINT_LEVELS + level)[None, :] * ANCHORS + (point % ANCHORS)[:, None]
    return load_pairs(reference, at, there, -1.0)


@triton.jit(do_not_specialize=["rows"])
def deform_attn_kernel(
    value,  # (B, PIXELS, HEADS, CHANNELS) float
    offsets,  # (queries, HEADS, LEVELS, POINTS, 2) float
    logits,  # (queries, HEADS, LEVELS, POINTS) float
    reference,  # (rows, POINT_LEVELS, ANCHORS, 2) float32
    query,  # (rows,) int64, if PAIRS
    ends,  # (BLOCK_IMAGES,) int32
    levels,  # (LEVELS, 3) int32: height, width and first pixel
    out,  # (rows, HEADS, CHANNELS)
    rows,
    PIXELS: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    POINT_LEVELS: tl.constexpr,
    ANCHORS: tl.constexpr,
    PER_LEVEL: tl.constexpr,
    PAIRS: tl.constexpr,
    BLOCK_IMAGES: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_POINTS: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
    BLOCK: tl.constexpr,  # points and rows of a tile: one a thread
):
    BLOCK_ROWS: tl.constexpr = BLOCK // BLOCK_POINTS
    head, row, there = block_of_rows(rows, BLOCK_ROWS)
    channel = tl.arange(0, BLOCK_CHANNELS)
    values = value + start_of(row, head, ends, BLOCK_IMAGES, PIXELS, HEADS, CHANNELS)
    of_query = row.to(tl.int64)
    if PAIRS:
        of_query = tl.load(query + row)
    of_query = (of_query * HEADS + head) * (LEVELS * POINTS)
    if not PER_LEVEL:
        peak, terms = softmax_of(logits, of_query, LEVELS * POINTS, BLOCK_TERMS)
    total = tl.zeros((BLOCK_POINTS, BLOCK_ROWS, BLOCK_CHANNELS), tl.float32)
    for level in range(LEVELS):
        height, width, first = level_of(levels, level)
        if PER_LEVEL:
            peak, terms = softmax_of(logits, of_query + level * POINTS, POINTS, BLOCK_TERMS)
            terms *= LEVELS
        for point0 in range(0, POINTS, BLOCK_POINTS):
            point = point0 + tl.arange(0, BLOCK_POINTS)
            at = (of_query + level * POINTS)[None, :] + point[:, None]
            mask = there[None, :] & (point < POINTS)[:, None]
            x, y = reference_of(reference, row, level, point, mask, POINT_LEVELS, ANCHORS)
            x_offset, y_offset = load_pairs(offsets, at, mask, 0.0)
            logit = tl.load(logits + at, mask=mask, other=float("-inf")).to(tl.float32)
            total = sample(
                total,
                values,
                channel,
                x * width + x_offset - 0.5,
                y * height + y_offset - 0.5,
                tl.exp(logit - peak[None, :]) / terms[None, :],
                first,
                height,
                width,
                STRIDE=HEADS * CHANNELS,
                CHANNELS=CHANNELS,
                BLOCK_CHANNELS=BLOCK_CHANNELS,
            )
    result = tl.sum(total, axis=0).to(out.dtype.element_ty)
    results = out + (row.to(tl.int64) * HEADS + head)[:, None] * CHANNELS + channel[None, :]
    tl.store(results, result, mask=there[:, None] & (channel < CHANNELS)[None, :])


@triton.jit(do_not_specialize=["queries", "channel_stride"])
def deform_attn_backward_kernel(
    grad_out,  # (rows, HEADS, CHANNELS) float
    value,  # as above
    offsets,
    logits,
    reference,
    order,  # (rows,) int32, if PAIRS: the rows by query, of a query in their order
    starts,  # (queries + 1,) int32, if PAIRS: the first of each query's rows in order
    ends,
    levels,
    sums,  # (B, PIXELS, HEADS, CHANNELS), added to: int64 if FIXED, else float32
    poisoned,  # the same, int8, if FIXED
    scale,  # (HEADS, CHANNELS) float32, if FIXED
    grad_offsets,  # as offsets
    grad_weights,  # (queries, HEADS, LEVELS, POINTS) float32: by the weights, before the softmax
    grad_locations,  # (rows, HEADS, LEVELS, POINTS, 2) float32, if LOCATIONS
    queries,
    channel_stride,
    PIXELS: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
    LEVELS: tl.constexpr,
    POINTS: tl.constexpr,
    POINT_LEVELS: tl.constexpr,
    ANCHORS: tl.constexpr,
    PER_LEVEL: tl.constexpr,
    PAIRS: tl.constexpr,
    LOCATIONS: tl.constexpr,
    FIXED: tl.constexpr,
    BLOCK_IMAGES: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    BLOCK_POINTS: tl.constexpr,
    BLOCK_TERMS: tl.constexpr,
    BLOCK: tl.constexpr,
    SPREAD: tl.constexpr,
):
    BLOCK_ROWS: tl.constexpr = BLOCK // BLOCK_POINTS
    head, row, there = block_of_rows(queries, BLOCK_ROWS)
    channel = tl.arange(0, BLOCK_CHANNELS)
    of_query = (row.to(tl.int64) * HEADS + head) * (LEVELS * POINTS)
    begin = row
    count = there.to(tl.int32)
    turns = 1
    if PAIRS:
        begin = tl.load(starts + row)
        count = tl.where(there, tl.load(starts + row + 1) - begin, 0)
        turns = tl.max(count, axis=0)
    if not PER_LEVEL:
        peak, terms = softmax_of(logits, of_query, LEVELS * POINTS, BLOCK_TERMS)
    factor = channel
    if FIXED:
        factor = tl.load(scale + head * CHANNELS + channel, mask=channel < CHANNELS, other=1.0)
    for level in range(LEVELS):
        height, width, first = level_of(levels, level)
        if PER_LEVEL:
            peak, terms = softmax_of(logits, of_query + level * POINTS, POINTS, BLOCK_TERMS)
            terms *= LEVELS
        for point0 in range(0, POINTS, BLOCK_POINTS):
            point = point0 + tl.arange(0, BLOCK_POINTS)
            at = (of_query + level * POINTS)[None, :] + point[:, None]
            mask = there[None, :] & (point < POINTS)[:, None]
            x_offset, y_offset = load_pairs(offsets, at, mask, 0.0)
            logit = tl.load(logits + at, mask=mask, other=float("-inf")).to(tl.float32)
            weight = tl.exp(logit - peak[None, :]) / terms[None, :]
            grad_weight, grad_x, grad_y = tl.zeros_like(weight), tl.zeros_like(weight), tl.zeros_like(weight)
            for turn in range(turns):
                taken = turn < count
                pair = begin
                if PAIRS:
                    pair = tl.load(order + begin + turn, mask=taken, other=0)
                start = start_of(pair, head, ends, BLOCK_IMAGES, PIXELS, HEADS, CHANNELS)
                of_pair = pair.to(tl.int64) * HEADS + head
                grads = grad_out + of_pair[:, None] * CHANNELS + channel[None, :]
                grad = tl.load(grads, mask=taken[:, None] & (channel < CHANNELS)[None, :], other=0.0).to(tl.float32)
                here = taken[None, :] & mask
                x, y = reference_of(reference, pair, level, point, here, POINT_LEVELS, ANCHORS)
                x = tl.where(here, x * width + x_offset - 0.5, -2.0)
                by_weight, by_x, by_y = grad_weight, grad_x, grad_y
                if LOCATIONS:
                    by_weight, by_x, by_y = tl.zeros_like(weight), tl.zeros_like(weight), tl.zeros_like(weight)
                by_weight, by_x, by_y = sample_backward(
                    by_weight,
                    by_x,
                    by_y,
                    grad,
                    value + start,
                    sums + start,
                    poisoned + start,
                    factor,
                    channel,
                    x,
                    y * height + y_offset - 0.5,
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
                if LOCATIONS:
                    places = of_pair[None, :] * (LEVELS * POINTS) + level * POINTS + point[:, None]
                    store_pairs(grad_locations, places, by_x * weight * width, by_y * weight * height, here)
                    by_weight, by_x, by_y = grad_weight + by_weight, grad_x + by_x, grad_y + by_y
                grad_weight, grad_x, grad_y = by_weight, by_x, by_y
            tl.store(grad_weights + at, grad_weight, mask=mask)
            store_pairs(grad_offsets, at, grad_x * weight, grad_y * weight, mask)


@triton.jit(do_not_specialize=["softmaxes"])
def softmax_backward_kernel(
    logits,  # (softmaxes, TERMS) float
    grad_weights,  # the same, float32
    grad_logits,  # as logits
    softmaxes,
    TERMS: tl.constexpr,
    SHARES: tl.constexpr,  # by how much the weights are divided besides: the levels of a mean, or 1
    BLOCK_TERMS: tl.constexpr,
    BLOCK: tl.constexpr,  # terms of a program
):
    BLOCK_ROWS: tl.constexpr = BLOCK // BLOCK_TERMS
    row = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    term = tl.arange(0, BLOCK_TERMS)
    mask = (row < softmaxes)[:, None] & (term < TERMS)[None, :]
    at = row.to(tl.int64)[:, None] * TERMS + term[None, :]
    # Zeros for rows that are not there: what would come of infinity alone is NaN.
    found = tl.load(logits + at, mask=mask, other=0.0).to(tl.float32)
    found = tl.where((term < TERMS)[None, :], found, float("-inf"))
    power = tl.exp(found - tl.max(found, axis=1)[:, None])
    weight = power / tl.sum(power, axis=1)[:, None]
    grad = tl.load(grad_weights + at, mask=mask, other=0.0)
    mean = tl.sum(weight * grad, axis=1)[:, None]
    tl.store(grad_logits + at, ((grad - mean) * weight / SHARES).to(grad_logits.dtype.element_ty), mask=mask)
