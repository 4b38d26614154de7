"""Deformable convolution as a product of matrices whose left side is gathered where it is needed.

A column is what one tap samples of some channels at an output position. Images and the gradient of outputs are read
with their channels last, weights as (groups, taps, C/groups, Co/groups), everything else as torch has it. A piece is a
run of channels that lie in one group and in one deform group. A block of positions lies in one image, in which offsets
are int32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from portbev_triton.source.fixed_point import add_fixed


@triton.jit
def _tap(
    offset,
    mask,  # None in version 1
    sample,  # image, deform group and tap in one number, int64
    t,
    p,  # position in its image
    there,
    H,
    W,
    Wo,
    P,  # Ho * Wo
    KW: tl.constexpr,
    SH: tl.constexpr,
    SW: tl.constexpr,
    PH: tl.constexpr,
    PW: tl.constexpr,
    DH: tl.constexpr,
    DW: tl.constexpr,
):
    """Where tap ``t`` samples: row and column of the top left pixel, how far the sample is from it, whether it has any
    share in the image; and what it is weighted with."""
    move = offset + sample * 2 * P + p
    down, right = t // KW, t % KW
    y = tl.load(move, mask=there, other=0.0).to(tl.float32) + (p // Wo * SH - PH + down * DH).to(tl.float32)
    x = tl.load(move + P, mask=there, other=0.0).to(tl.float32) + (p % Wo * SW - PW + right * DW).to(tl.float32)
    inside = there & (y >= -1.0) & (y < H) & (x >= -1.0) & (x < W)  # false for NaN
    y, x = tl.where(inside, y, 0.0), tl.where(inside, x, 0.0)
    row, column = tl.floor(y), tl.floor(x)
    weighted = tl.full(y.shape, 1.0, tl.float32)
    if mask is not None:
        weighted = tl.load(mask + sample * P + p, mask=there, other=0.0).to(tl.float32)
    return row.to(tl.int32), column.to(tl.int32), y - row, x - column, inside, weighted


@triton.jit
def _corner(row, column, fy, fx, inside, H, W, down, right):
    """Whether a corner is in the image, and its shares along height and width."""
    there = inside & (row + down >= 0) & (row + down < H) & (column + right >= 0) & (column + right < W)
    share_y = tl.where(down == 1, fy, 1.0 - fy)
    share_x = tl.where(right == 1, fx, 1.0 - fx)
    return there, share_y, share_x


@triton.jit
def _columns(pixels, row, column, fy, fx, inside, weighted, c, c_there, H, W, C: tl.constexpr):
    """(positions, channels) float32 samples of the channels ``c`` of an image, weighted."""
    sampled = tl.zeros((row.shape[0], c.shape[0]), tl.float32)
    for down in tl.static_range(2):
        for right in tl.static_range(2):
            there, share_y, share_x = _corner(row, column, fy, fx, inside, H, W, down, right)
            at = (((row + down) * W + column + right) * C)[:, None] + c[None, :]
            value = tl.load(pixels + at, mask=there[:, None] & c_there[None, :], other=0.0).to(tl.float32)
            sampled += value * (share_y * share_x)[:, None]
    return sampled * weighted[:, None]


@triton.jit
def _add_product(total, rest, a, b, PRECISION: tl.constexpr):
    """``total + a @ b`` for ``a`` of float32. Of a half precision ``b`` makes two products: with ``a`` rounded to its
    dtype, and with what that left out, so that ``a`` enters with twice the bits of a half. The second is added to
    ``rest``, since a product that continues another would have the sums moved between warps each time."""
    if b.dtype == tl.float32:
        total = tl.dot(a, b, total, input_precision=PRECISION)
    else:
        rounded = a.to(b.dtype)
        left_out = (a - rounded.to(tl.float32)).to(b.dtype)
        total, rest = tl.dot(rounded, b, total), tl.dot(left_out, b, rest)
    return total, rest


@triton.jit(do_not_specialize=["images"])
def forward_kernel(
    input,
    offset,
    weight,
    mask,
    bias,  # None without one
    out,
    images,
    H,
    W,
    Wo,
    P,
    C: tl.constexpr,
    CO: tl.constexpr,
    GROUPS: tl.constexpr,
    DEFORM_GROUPS: tl.constexpr,
    PIECE: tl.constexpr,  # channels of a piece
    KH: tl.constexpr,
    KW: tl.constexpr,
    SH: tl.constexpr,
    SW: tl.constexpr,
    PH: tl.constexpr,
    PW: tl.constexpr,
    DH: tl.constexpr,
    DW: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """A program makes a block of positions of a block of output channels; those that gather the same are neighbours."""
    CG: tl.constexpr = C // GROUPS
    OG: tl.constexpr = CO // GROUPS
    O_BLOCKS: tl.constexpr = (OG + BLOCK_O - 1) // BLOCK_O
    program = tl.program_id(0)
    o = program % O_BLOCKS * BLOCK_O + tl.arange(0, BLOCK_O)
    g = program // O_BLOCKS % GROUPS
    block = program // (O_BLOCKS * GROUPS)
    image = (block // tl.cdiv(P, BLOCK_P)).to(tl.int64)
    p = block % tl.cdiv(P, BLOCK_P) * BLOCK_P + tl.arange(0, BLOCK_P)
    there, o_there = p < P, o < OG
    pixels = input + image * H * W * C
    total, rest = tl.zeros((BLOCK_P, BLOCK_O), tl.float32), tl.zeros((BLOCK_P, BLOCK_O), tl.float32)
    for first in range(0, CG, PIECE):
        d = (g * CG + first) // (C // DEFORM_GROUPS)
        for t in range(KH * KW):
            sample = (image * DEFORM_GROUPS + d) * (KH * KW) + t
            row, column, fy, fx, inside, weighted = _tap(
                offset, mask, sample, t, p, there, H, W, Wo, P, KW, SH, SW, PH, PW, DH, DW
            )
            for start in range(0, PIECE, BLOCK_C):
                c = start + tl.arange(0, BLOCK_C)
                c_there = c < PIECE
                sampled = _columns(pixels, row, column, fy, fx, inside, weighted, g * CG + first + c, c_there, H, W, C)
                at = ((g * (KH * KW) + t) * CG + first + c)[:, None] * OG + o[None, :]
                product = tl.load(weight + at, mask=c_there[:, None] & o_there[None, :], other=0.0)
                total, rest = _add_product(total, rest, sampled, product, PRECISION)
    total += rest
    if bias is not None:
        total += tl.load(bias + g * OG + o, mask=o_there, other=0.0).to(tl.float32)[None, :]
    at = p[:, None] + ((g * OG + o) * P)[None, :]
    tl.store(out + image * CO * P + at, total.to(out.dtype.element_ty), mask=there[:, None] & o_there[None, :])


@triton.jit(do_not_specialize=["images"])
def weight_kernel(
    grad_out,  # (N, Ho, Wo, Co)
    input,
    offset,
    mask,
    parts,  # (stretches, groups, taps, C/groups, Co/groups) float32
    images,
    H,
    W,
    Wo,
    P,
    C: tl.constexpr,
    CO: tl.constexpr,
    GROUPS: tl.constexpr,
    DEFORM_GROUPS: tl.constexpr,
    PIECE: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    SH: tl.constexpr,
    SW: tl.constexpr,
    PH: tl.constexpr,
    PW: tl.constexpr,
    DH: tl.constexpr,
    DW: tl.constexpr,
    PRECISION: tl.constexpr,
    STRETCH: tl.constexpr,  # blocks of positions that a program adds up
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """A program adds up a stretch of positions for one tap and a block of channels and output channels."""
    CG: tl.constexpr = C // GROUPS
    OG: tl.constexpr = CO // GROUPS
    O_BLOCKS: tl.constexpr = (OG + BLOCK_O - 1) // BLOCK_O
    C_BLOCKS: tl.constexpr = (PIECE + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    o = program % O_BLOCKS * BLOCK_O + tl.arange(0, BLOCK_O)
    program //= O_BLOCKS
    c = program % C_BLOCKS * BLOCK_C + tl.arange(0, BLOCK_C)
    program //= C_BLOCKS
    first = program % (C // PIECE) * PIECE
    program //= C // PIECE
    t = program % (KH * KW)
    stretch = program // (KH * KW)
    g, d = first // CG, first // (C // DEFORM_GROUPS)
    c_there, o_there = c < PIECE, o < OG
    total, rest = tl.zeros((BLOCK_C, BLOCK_O), tl.float32), tl.zeros((BLOCK_C, BLOCK_O), tl.float32)
    blocks = tl.cdiv(P, BLOCK_P)  # of an image
    for block in range(stretch * STRETCH, tl.minimum(stretch * STRETCH + STRETCH, images * blocks)):
        image = (block // blocks).to(tl.int64)
        p = block % blocks * BLOCK_P + tl.arange(0, BLOCK_P)
        there = p < P
        sample = (image * DEFORM_GROUPS + d) * (KH * KW) + t
        row, column, fy, fx, inside, weighted = _tap(
            offset, mask, sample, t, p, there, H, W, Wo, P, KW, SH, SW, PH, PW, DH, DW
        )
        pixels = input + image * H * W * C
        sampled = _columns(pixels, row, column, fy, fx, inside, weighted, first + c, c_there, H, W, C)
        at = (p * CO)[:, None] + (g * OG + o)[None, :]
        gradient = tl.load(grad_out + image * P * CO + at, mask=there[:, None] & o_there[None, :], other=0.0)
        total, rest = _add_product(total, rest, tl.trans(sampled), gradient, PRECISION)
    total += rest
    at = ((stretch * GROUPS + g) * (KH * KW) + t).to(tl.int64) * CG + (first - g * CG)
    tl.store(parts + (at + c)[:, None] * OG + o[None, :], total, mask=c_there[:, None] & o_there[None, :])


@triton.jit(do_not_specialize=["images"])
def data_kernel(
    grad_out,
    input,
    offset,
    weight,
    mask,
    sums,  # (N, H, W, C) gradient by the image: int64 with FIXED, else float32
    poisoned,  # with FIXED: the same shape, int8
    scale,  # with FIXED: (C,)
    grad_offset,
    grad_mask,
    images,
    H,
    W,
    Wo,
    P,
    C: tl.constexpr,
    CO: tl.constexpr,
    GROUPS: tl.constexpr,
    DEFORM_GROUPS: tl.constexpr,
    PIECE: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    SH: tl.constexpr,
    SW: tl.constexpr,
    PH: tl.constexpr,
    PW: tl.constexpr,
    DH: tl.constexpr,
    DW: tl.constexpr,
    PRECISION: tl.constexpr,
    FIXED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_O: tl.constexpr,
):
    """A program takes one tap of one deform group at a block of positions: gradients by image, offset and mask."""
    CG: tl.constexpr = C // GROUPS
    OG: tl.constexpr = CO // GROUPS
    CD: tl.constexpr = C // DEFORM_GROUPS
    program = tl.program_id(0)
    t = program % (KH * KW)
    d = program // (KH * KW) % DEFORM_GROUPS
    block = program // (KH * KW * DEFORM_GROUPS)
    image = (block // tl.cdiv(P, BLOCK_P)).to(tl.int64)
    p = block % tl.cdiv(P, BLOCK_P) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = p < P
    sample = (image * DEFORM_GROUPS + d) * (KH * KW) + t
    row, column, fy, fx, inside, weighted = _tap(
        offset, mask, sample, t, p, there, H, W, Wo, P, KW, SH, SW, PH, PW, DH, DW
    )
    pixels, sums, grad_out = input + image * H * W * C, sums + image * H * W * C, grad_out + image * P * CO
    if FIXED:
        poisoned += image * H * W * C
    slope_y, slope_x = tl.zeros((BLOCK_P,), tl.float32), tl.zeros((BLOCK_P,), tl.float32)
    value_grad = tl.zeros((BLOCK_P,), tl.float32)
    for first in range(d * CD, d * CD + CD, PIECE):
        g = first // CG
        for start in range(0, PIECE, BLOCK_C):
            c = first + start + tl.arange(0, BLOCK_C)
            c_there = c < first + PIECE
            grad_column = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
            for o_start in range(0, OG, BLOCK_O):
                o = o_start + tl.arange(0, BLOCK_O)
                o_there = o < OG
                at = (p * CO)[:, None] + (g * OG + o)[None, :]
                gradient = tl.load(grad_out + at, mask=there[:, None] & o_there[None, :], other=0.0)
                at = ((g * (KH * KW) + t) * CG - g * CG + c)[None, :] * OG + o[:, None]
                product = tl.load(weight + at, mask=o_there[:, None] & c_there[None, :], other=0.0)
                grad_column = tl.dot(gradient, product, grad_column, input_precision=PRECISION)
            if FIXED:
                unit = tl.load(scale + c, mask=c_there, other=0.0)[None, :]
            for which in range(4):  # a loop, since all corners at once take more registers than there are
                down, right = which // 2, which % 2
                corner, share_y, share_x = _corner(row, column, fy, fx, inside, H, W, down, right)
                used = corner[:, None] & c_there[None, :]
                at = (((row + down) * W + column + right) * C)[:, None] + c[None, :]
                value = tl.load(pixels + at, mask=used, other=0.0).to(tl.float32)
                along = tl.where(corner, tl.sum(grad_column * value, axis=1), 0.0)
                slope_y += along * share_x * (down * 2 - 1)
                slope_x += along * share_y * (right * 2 - 1)
                value_grad += along * share_y * share_x
                term = grad_column * (share_y * share_x * weighted)[:, None]
                if FIXED:
                    add_fixed(sums, poisoned, at, term, unit, used)
                else:
                    tl.atomic_add(sums + at, term, mask=used, sem="relaxed")
    at = sample * 2 * P + p
    tl.store(grad_offset + at, (slope_y * weighted).to(grad_offset.dtype.element_ty), mask=there)
    tl.store(grad_offset + at + P, (slope_x * weighted).to(grad_offset.dtype.element_ty), mask=there)
    if mask is not None:
        tl.store(grad_mask + sample * P + p, value_grad.to(grad_mask.dtype.element_ty), mask=there)
