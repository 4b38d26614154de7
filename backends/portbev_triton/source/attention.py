"""What the kernels of deformable attention share: rows, images and levels, corners, samples and their gradients.

Tiles are (points, rows, channels) with the channels innermost: a thread takes 16 bytes of a row of channels and all
points of the tile, so that sums over points stay in its registers. Positions and shares are computed on (points, rows),
once for all channels. Values outside of the map are not masked out of a load, which would cost an instruction for each
register that it fills: a pixel inside is read in their place, with a share of zero.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def start_of(
    row,
    head,
    ends,  # (BLOCK_IMAGES,) int32: the row behind each image's last; the largest int32 behind the last image
    BLOCK_IMAGES: tl.constexpr,
    PIXELS: tl.constexpr,
    HEADS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Where the values of each row's image and of the head start; a row's image is how many images end before it."""
    end = tl.load(ends + tl.arange(0, BLOCK_IMAGES))
    image = tl.sum((row[None, :] >= end[:, None]).to(tl.int32), axis=0)
    return image.to(tl.int64) * (PIXELS * HEADS * CHANNELS) + head * CHANNELS


@triton.jit
def load_pairs(pointer, at, there, outside):
    """The pairs (x, y) number ``at`` (points, rows), in float32; ``outside`` where they are not there."""
    pairs = tl.load(
        pointer + 2 * at[:, :, None] + tl.arange(0, 2)[None, None, :], mask=there[:, :, None], other=outside
    )
    return tl.split(pairs.to(tl.float32))


@triton.jit
def store_pairs(pointer, at, x, y, there):
    """Store pairs where they are there, in the dtype of ``pointer``."""
    pairs = tl.join(x, y).to(pointer.dtype.element_ty)
    tl.store(pointer + 2 * at[:, :, None] + tl.arange(0, 2)[None, None, :], pairs, mask=there[:, :, None])


@triton.jit
def block_of_rows(rows, BLOCK_ROWS: tl.constexpr):
    """Head and rows of this program; rows behind the last are the last, and not there."""
    blocks = tl.cdiv(rows, BLOCK_ROWS)
    head = tl.program_id(0) // blocks
    row = tl.program_id(0) % blocks * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    return head, tl.minimum(row, rows - 1), row < rows


@triton.jit
def level_of(levels, level):
    """Height, width and first pixel."""
    return tl.load(levels + 3 * level), tl.load(levels + 3 * level + 1), tl.load(levels + 3 * level + 2)


@triton.jit
def below(position, size):
    """The pixel before each position, int32, and how far the position is from it; -2 outside of the map and for NaN."""
    inside = (position > -1.0) & (position < size)
    position = tl.where(inside, position, -2.0)
    pixel = tl.floor(position)
    return pixel.to(tl.int32), position - pixel


@triton.jit
def neighbour(pixel, fraction, size, far):
    """The pixel before (far = 1: behind) a position along an axis, if it is inside, its share and the share's slope.

    Share and slope (by the position, in pixels) are zero outside.
    """
    pixel += far
    inside = (pixel >= 0) & (pixel < size)
    share = tl.where(far == 1, fraction, 1.0 - fraction)
    slope = 2.0 * far - 1.0
    return pixel, inside, tl.where(inside, share, 0.0), tl.where(inside, slope, 0.0)


@triton.jit
def load_rows(at, channel, CHANNELS: tl.constexpr, BLOCK_CHANNELS: tl.constexpr):
    """Rows of channels from ``at`` (points, rows), in float32; zero behind the last channel."""
    at = at[:, :, None] + channel[None, None, :]
    if CHANNELS == BLOCK_CHANNELS:
        values = tl.load(at)
    else:
        values = tl.load(at, mask=(channel < CHANNELS)[None, None, :], other=0.0)
    return values.to(tl.float32)


@triton.jit
def sample(
    total,  # (points, rows, channels) float32
    values,  # (rows,) pointers to the values of each row's image and head
    channel,
    x,  # (points, rows) positions in pixels
    y,
    weight,  # (points, rows) float32
    first,
    height,
    width,
    STRIDE: tl.constexpr,  # elements of a pixel
    CHANNELS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    """``total`` plus the weighted samples at the positions."""
    x0, x_fraction = below(x, width)
    y0, y_fraction = below(y, height)
    for corner in tl.static_range(4):
        px, x_inside, x_share, _ = neighbour(x0, x_fraction, width, corner % 2)
        py, y_inside, y_share, _ = neighbour(y0, y_fraction, height, corner // 2)
        pixel = tl.where(x_inside & y_inside, first + py * width + px, 0)
        share = x_share * y_share * weight
        found = load_rows(values[None, :] + pixel * STRIDE, channel, CHANNELS, BLOCK_CHANNELS)
        total += share[:, :, None] * found
    return total


@triton.jit
def finite(values):
    """``values`` with zeros for NaN and infinity."""
    return tl.where(tl.abs(values) < float("inf"), values, 0.0)


@triton.jit
def sample_backward(
    grad_weight,  # (points, rows) float32, added to: gradients by weight, and by x and y without the weight
    grad_x,
    grad_y,
    grad,  # (rows, channels) float32: of a loss by the rows' sums
    values,  # as for sample
    sums,  # (rows,) pointers to the sums of each row's image and head: int64 if FIXED, else float32
    poisoned,  # (rows,) pointers to their marks, if FIXED
    scale,  # (channels,) powers of two, float32, if FIXED
    channel,
    x,
    y,
    weight,
    first,
    height,
    width,
    channel_stride,  # 1, which the compiler is not to know
    STRIDE: tl.constexpr,
    CHANNELS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
    FIXED: tl.constexpr,
    SPREAD: tl.constexpr,
):
    """Gradients by weight and position, and terms for the sums of that by value.

    The compiler gives a thread as many channels as lie side by side. Where the device has no addition for several at
    once (SPREAD) a thread had better add one: those of a warp then fill the sectors of memory that they touch. The loop
    is not unrolled, which would take all of a thread's registers.
    """
    x0, x_fraction = below(x, width)
    y0, y_fraction = below(y, height)
    weight_term, grad_term = weight, grad
    if FIXED:
        weight_term = finite(weight)
        grad_term = finite(grad) * scale[None, :]
    lane = (channel * channel_stride if SPREAD else channel)[None, None, :]
    for corner in range(4):
        px, x_inside, x_share, x_slope = neighbour(x0, x_fraction, width, corner % 2)
        py, y_inside, y_share, y_slope = neighbour(y0, y_fraction, height, corner // 2)
        pixel = tl.where(x_inside & y_inside, first + py * width + px, -1)
        at = tl.maximum(pixel, 0) * STRIDE
        along = tl.sum(grad[None, :, :] * load_rows(values[None, :] + at, channel, CHANNELS, BLOCK_CHANNELS), axis=2)
        grad_weight += along * (x_share * y_share)
        grad_x += along * (x_slope * y_share)
        grad_y += along * (y_slope * x_share)
        term = (x_share * y_share * weight_term)[:, :, None] * grad_term[None, :, :]
        if FIXED:
            term = term.to(tl.int64)
        mask = (pixel >= 0)[:, :, None] & (channel < CHANNELS)[None, None, :]
        target = sums[None, :, None] + (pixel * STRIDE)[:, :, None] + lane
        tl.atomic_add(target, term, mask=mask, sem="relaxed")
    if FIXED:
        # Finite only if every product of a gradient and a weight is: a glance at all before a look at each.
        largest = tl.sum(tl.sum(tl.abs(grad), axis=1), axis=0) * tl.sum(tl.sum(tl.abs(weight), axis=1), axis=0)
        if (tl.abs(largest) < float("inf")) == 0:
            poison(grad, poisoned, channel, x, y, weight, first, height, width, STRIDE, CHANNELS)
    return grad_weight, grad_x, grad_y


@triton.jit
def poison(
    grad,
    poisoned,  # (rows,) pointers to marks, int8, of each row's image and head
    channel,
    x,
    y,
    weight,
    first,
    height,
    width,
    STRIDE: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Marks the places that get a term which is not finite. Programs that mark the same place write the same."""
    x0, x_fraction = below(x, width)
    y0, y_fraction = below(y, height)
    for corner in range(4):
        px, x_inside, x_share, _ = neighbour(x0, x_fraction, width, corner % 2)
        py, y_inside, y_share, _ = neighbour(y0, y_fraction, height, corner // 2)
        pixel = tl.where(x_inside & y_inside, first + py * width + px, -1)
        term = (x_share * y_share * weight)[:, :, None] * grad[None, :, :]
        bad = (tl.abs(term) < float("inf")) == 0
        mask = (pixel >= 0)[:, :, None] & (channel < CHANNELS)[None, None, :] & bad
        target = poisoned[None, :, None] + (pixel * STRIDE)[:, :, None] + channel[None, None, :]
        tl.store(target, tl.full(term.shape, 1, tl.int8), mask=mask)
