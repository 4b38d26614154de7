"""Dropout on the CPU: the same counted words, made by NumPy in blocks that stay in the cache.

NumPy multiplies 64-bit words in place; the reference's int64 tensors take three times as long.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.dropout import LOW, MULTIPLIERS, STEPS, DropoutCall, apply_mask, threshold

Words = NDArray[np.uint64]
BLOCKS = 1 << 14
"""Counters of a piece: its seven arrays take 0.9 MB."""
_HALF = np.uint64(32)


def philox_words(first: int, count: int, seed: int, site: int, step: int) -> list[Words]:
    """The four words of blocks ``first`` to ``first + count``, each (count,), 32 bits in the low half."""
    index = np.arange(first, first + count, dtype=np.uint64)
    low, m0, m1 = np.uint64(LOW), *(np.uint64(m) for m in MULTIPLIERS)
    c0, c1, c2, c3 = index & low, index >> _HALF, np.full_like(index, step), np.full_like(index, site)
    p0, p1, a, b = (np.empty_like(index) for _ in range(4))
    k0, k1 = seed & LOW, (seed >> 32) & LOW
    for _ in range(10):
        np.multiply(c0, m0, out=p0)
        np.multiply(c2, m1, out=p1)
        np.right_shift(p1, _HALF, out=a)
        np.right_shift(p0, _HALF, out=b)
        for high, word, key in ((a, c1, k0), (b, c3, k1)):
            np.bitwise_xor(high, word, out=high)
            np.bitwise_xor(high, np.uint64(key), out=high)
        p0 &= low
        p1 &= low
        c0, a = a, c0
        c1, p1 = p1, c1
        c2, b = b, c2
        c3, p0 = p0, c3
        k0, k1 = (k0 + STEPS[0]) & LOW, (k1 + STEPS[1]) & LOW
    return [c0, c1, c2, c3]


def keep_mask(elements: int, p: float, seed: int, site: int, step: int, first: int = 0) -> NDArray[np.bool_]:
    """(elements,) whether each from number ``first`` on is kept; torch's number of threads share the work."""
    begin, skipped = divmod(first, 4)
    blocks, limit = (skipped + elements + 3) // 4, np.uint64(threshold(p))
    mask = np.empty((blocks, 4), np.bool_)

    def fill(done: int) -> None:
        words = philox_words(begin + done, min(BLOCKS, blocks - done), seed, site, step)
        for column, word in enumerate(words):
            np.greater_equal(word, limit, out=mask[done : done + BLOCKS, column])

    pieces, threads = range(0, blocks, BLOCKS), torch.get_num_threads()
    if threads > 1 and len(pieces) > 1:
        with ThreadPoolExecutor(min(threads, len(pieces))) as pool:
            list(pool.map(fill, pieces))
    else:
        for done in pieces:
            fill(done)
    return mask.reshape(-1)[skipped : skipped + elements]


def forward(call: DropoutCall) -> tuple[Tensor, Tensor]:
    """The result and the mask; see :func:`portbev.ops.dropout`."""
    input, p, seed, site, step, first = call
    kept = torch.from_numpy(keep_mask(input.numel(), p, seed, site, step, first)).reshape(input.shape)
    return apply_mask(input, kept, p), kept


KERNEL = Kernel("dropout", "cpu_fast", forward, backends=("cpu",), priority=10)
