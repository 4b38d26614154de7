"""Adding to sums of :mod:`portbev_triton.fixed_point`, and writing images of them."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def add_fixed(
    sums,  # int64
    poisoned,  # int8
    at,  # offsets into both
    value,  # float32
    scale,  # float32 powers of two, which broadcast with value
    there,  # which values are added
):
    """Add ``value``: the same bits in any order."""
    finite = tl.abs(value) < float("inf")  # false for NaN
    scaled = tl.where(finite, value, 0.0) * scale
    # From 2**23 on a float32 is whole, and 0.5 more would round.
    whole = tl.where(tl.abs(scaled) < 8388608.0, tl.floor(scaled + 0.5), scaled)
    tl.atomic_add(sums + at, whole.to(tl.int64), mask=there, sem="relaxed")
    tl.store(poisoned + at, tl.full(value.shape, 1, tl.int8), mask=there & (finite == 0))


@triton.jit
def image_kernel(
    sums,  # (N, P, C) int64, or float32 where poisoned is None
    poisoned,  # (N, P, C) int8
    scale,  # (C,) float32
    out,  # (N, C, P)
    P,
    C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Sums with channels last to an image with channels first, rounded once."""
    C_BLOCKS: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    program = tl.program_id(0)
    c = program % C_BLOCKS * BLOCK_C + tl.arange(0, BLOCK_C)
    block = program // C_BLOCKS
    image = (block // tl.cdiv(P, BLOCK_P)).to(tl.int64) * P * C
    p = block % tl.cdiv(P, BLOCK_P) * BLOCK_P + tl.arange(0, BLOCK_P)
    there = (p < P)[:, None] & (c < C)[None, :]
    at = (p * C)[:, None] + c[None, :]
    value = tl.load(sums + image + at, mask=there, other=0).to(tl.float32)
    if poisoned is not None:
        value = tl.div_rn(value, tl.load(scale + c, mask=c < C, other=1.0)[None, :])
        value = tl.where(tl.load(poisoned + image + at, mask=there, other=0) == 0, value, float("nan"))
    at = p[:, None] + (c * P)[None, :]
    tl.store(out + image + at, value.to(out.dtype.element_ty), mask=there)
