"""Reference kernel of counted dropout: Philox on int64 tensors, for devices without unsigned arithmetic."""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import REFERENCE, Kernel
from portbev.ops.dropout import LOW, MULTIPLIERS, STEPS, DropoutCall, apply_mask, threshold

CHUNK = 1 << 15
"""Blocks of four words that are counted at once, so that they stay in the cache."""


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Ten rounds of Philox4x32 on int64 tensors that hold 32-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _multiply(c0, MULTIPLIERS[0])
        high1, low1 = _multiply(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = (high1 ^ c1).bitwise_xor_(k0), low1, (high0 ^ c3).bitwise_xor_(k1), low0
        k0, k1 = (k0 + STEPS[0]) & LOW, (k1 + STEPS[1]) & LOW
    return c0, c1, c2, c3


def keep_words(elements: int, seed: int, site: int, step: int, device: torch.device, first: int = 0) -> Tensor:
    """(elements,) int64, uniform in [0, 2**32): those of the elements from number ``first`` on."""
    begin, skipped = divmod(first, 4)
    words = torch.empty((skipped + elements + 3) // 4, 4, dtype=torch.int64, device=device)
    for done in range(0, len(words), CHUNK):
        block = torch.arange(begin + done, begin + min(done + CHUNK, len(words)), device=device)
        counter = (block & LOW, block >> 32, torch.full_like(block, step), torch.full_like(block, site))
        torch.stack(philox4x32(counter, (seed & LOW, (seed >> 32) & LOW)), 1, out=words[done : done + CHUNK])
    return words.reshape(-1)[skipped : skipped + elements]


def forward(call: DropoutCall) -> tuple[Tensor, Tensor]:
    """The result and the mask; see :func:`portbev.ops.dropout`."""
    input, p, seed, site, step, first = call
    kept = (keep_words(input.numel(), seed, site, step, input.device, first) >= threshold(p)).reshape(input.shape)
    return apply_mask(input, kept, p), kept


def _multiply(word: Tensor, constant: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32 by 32 bit product, without leaving the range of int64.

    The constants lie above 2**31: word * (constant - 2**32) lies above -2**63, and the rest, word * 2**32, is added to
    the high half.
    """
    product = word * (constant - 2**32)
    low = product & LOW
    return (product >> 32).add_(word), low


KERNEL = Kernel("dropout", REFERENCE, forward, priority=0)
