"""Counted dropout: one program counts the words of a stretch of blocks, four elements a block."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["elements", "limit", "seed", "site", "step", "begin"])
def dropout_kernel(
    input,  # (elements,) float
    out,  # the same
    kept,  # (elements,) int8
    elements,
    scale,  # of the elements that are kept
    limit,  # words below it drop their element
    seed,
    site,
    step,
    begin,  # block of the first element
    SKIPPED: tl.constexpr,  # elements of that block before it; with none, loads are aligned
    BLOCK: tl.constexpr,  # words of a program, a multiple of 4
):
    program = tl.program_id(0).to(tl.int64)
    block = begin + program * (BLOCK // 4) + tl.arange(0, BLOCK // 4)
    low = (block & 0xFFFFFFFF).to(tl.uint32)
    high = (block >> 32).to(tl.uint32)
    zero = tl.zeros_like(low)
    w0, w1, w2, w3 = tl.philox(seed.to(tl.uint64), low, high, zero + step.to(tl.uint32), zero + site.to(tl.uint32))
    words = tl.interleave(tl.interleave(w0, w2), tl.interleave(w1, w3))  # w0, w1, w2, w3 of each block in turn
    keep = words.to(tl.int64) >= limit
    element = program * BLOCK + tl.arange(0, BLOCK) - SKIPPED
    there = (element >= 0) & (element < elements)
    value = tl.load(input + element, mask=there).to(tl.float32) * scale
    tl.store(out + element, tl.where(keep, value, 0.0).to(out.dtype.element_ty), mask=there)
    tl.store(kept + element, keep.to(tl.int8), mask=there)
