"""Voxel pooling: points, sorted by cell, are added cell by cell; a full cell is cut into segments of points."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def pool_segments_kernel(
    rows,  # (rows, C) float: features of points, or contexts of pixels
    depth,  # (points,) float, if LIFT
    order,  # (points,) int32: points by cell
    starts,  # (cells + 1,) int32: first of each cell's points in order
    segments,  # (cells + 1,) int32: first of each cell's segments
    cell_of,  # (programs,) int32: the cell of each segment; the number of cells behind the last
    out,  # (cells, C)
    partial,  # (programs, C) float32: sums of segments of cells that have several
    cells,
    C: tl.constexpr,
    LIFT: tl.constexpr,
    BINS: tl.constexpr,  # depth bins of a pixel, if LIFT
    PIXELS: tl.constexpr,  # of an image, if LIFT
    SEGMENT: tl.constexpr,  # points of a segment
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    program = tl.program_id(0)
    cell = tl.load(cell_of + program)
    if cell < cells:
        channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
        first_segment = tl.load(segments + cell)
        several = tl.load(segments + cell + 1) - first_segment > 1
        begin = tl.load(starts + cell) + (program - first_segment) * SEGMENT
        end = tl.minimum(tl.load(starts + cell + 1), begin + SEGMENT)
        total = tl.zeros((BLOCK_C,), tl.float32)
        for at in range(begin, end, BLOCK_P):
            place = at + tl.arange(0, BLOCK_P)
            there = place < end
            point = tl.load(order + place, mask=there, other=0).to(tl.int64)
            row = point
            if LIFT:
                row = point // (BINS * PIXELS) * PIXELS + point % PIXELS
            mask = there[:, None] & (channel < C)[None, :]
            values = tl.load(rows + row[:, None] * C + channel[None, :], mask=mask, other=0.0).to(tl.float32)
            if LIFT:
                # A point that is not there has no depth: what its row held, NaN too, is masked above.
                values *= tl.load(depth + point, mask=there, other=0.0).to(tl.float32)[:, None]
            total += tl.sum(values, axis=0)
        if several:
            tl.store(partial + program.to(tl.int64) * C + channel, total, mask=channel < C)
        else:
            tl.store(out + cell.to(tl.int64) * C + channel, total.to(out.dtype.element_ty), mask=channel < C)


@triton.jit
def add_segments_kernel(
    partial,  # (programs, C) float32
    segments,  # (cells + 1,) int32
    out,  # (cells, C)
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    cell = tl.program_id(0)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    begin, end = tl.load(segments + cell), tl.load(segments + cell + 1)
    if end - begin > 1:
        total = tl.zeros((BLOCK_C,), tl.float32)
        at = partial + begin.to(tl.int64) * C + channel
        for _ in range(begin, end):
            total += tl.load(at, mask=channel < C, other=0.0)
            at += C
        tl.store(out + cell.to(tl.int64) * C + channel, total.to(out.dtype.element_ty), mask=channel < C)


@triton.jit
def cell_of_point(voxels, point, there, batch, X: tl.constexpr, Y: tl.constexpr, Z: tl.constexpr):
    """Number of the cell of each point, and whether there is one."""
    ix = tl.load(voxels + 3 * point, mask=there, other=-1)
    iy = tl.load(voxels + 3 * point + 1, mask=there, other=-1)
    iz = tl.load(voxels + 3 * point + 2, mask=there, other=-1)
    inside = (ix >= 0) & (ix < X) & (iy >= 0) & (iy < Y) & (iz >= 0) & (iz < Z)
    return (batch * Y + iy).to(tl.int64) * X + ix, inside


@triton.jit(do_not_specialize=["points"])
def pool_backward_kernel(
    grad_out,  # (cells, C)
    voxels,  # (points, 3) int32
    grad_rows,  # (points, C)
    points,
    each,  # points of a sample
    C: tl.constexpr,
    X: tl.constexpr,
    Y: tl.constexpr,
    Z: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    point = tl.program_id(0).to(tl.int64) * BLOCK_P + tl.arange(0, BLOCK_P)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    there = point < points
    cell, inside = cell_of_point(voxels, point, there, point // each, X, Y, Z)
    columns = (channel < C)[None, :]
    values = tl.load(grad_out + cell[:, None] * C + channel[None, :], mask=inside[:, None] & columns, other=0.0)
    target = grad_rows + point[:, None] * C + channel[None, :]
    tl.store(target, values.to(grad_rows.dtype.element_ty), mask=there[:, None] & columns)


@triton.jit
def lift_backward_kernel(
    grad_out,  # (B*Y*X, C)
    depth,  # (images, BINS, PIXELS)
    context,  # (images, C, PIXELS)
    voxels,  # (images, BINS, PIXELS, 3) int32
    grad_depth,  # as depth
    grad_context,  # as context
    each,  # images of a sample
    C: tl.constexpr,
    BINS: tl.constexpr,
    PIXELS: tl.constexpr,
    X: tl.constexpr,
    Y: tl.constexpr,
    Z: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,  # at least C
):
    blocks: tl.constexpr = (PIXELS + BLOCK_P - 1) // BLOCK_P
    image = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * BLOCK_P + tl.arange(0, BLOCK_P)
    channel = tl.arange(0, BLOCK_C)
    there = pixel < PIXELS
    mask = there[:, None] & (channel < C)[None, :]
    map_ = image.to(tl.int64) * C * PIXELS + channel[None, :] * PIXELS + pixel[:, None]
    values = tl.load(context + map_, mask=mask, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for d in range(BINS):
        point = (image.to(tl.int64) * BINS + d) * PIXELS + pixel
        cell, inside = cell_of_point(voxels, point, there, image // each, X, Y, Z)
        grad = tl.load(grad_out + cell[:, None] * C + channel[None, :], mask=mask & inside[:, None], other=0.0)
        grad = grad.to(tl.float32)
        of_depth = tl.where(inside, tl.sum(grad * values, axis=1), 0.0)
        tl.store(grad_depth + point, of_depth.to(grad_depth.dtype.element_ty), mask=there)
        probability = tl.load(depth + point, mask=inside, other=0.0).to(tl.float32)
        total += probability[:, None] * grad
    tl.store(grad_context + map_, total.to(grad_context.dtype.element_ty), mask=mask)
