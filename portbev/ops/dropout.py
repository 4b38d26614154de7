"""Dropout whose mask is counted, not drawn: the same on every device.

Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), Philox4x32-10. Element i of the input
(row-major) takes word ``i % 4`` of the block with counter ``(i // 4 low, i // 4 high, step, site)`` and key ``seed``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops.precision import dispatch

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
STEPS = 0x9E3779B9, 0xBB67AE85
"""What the two halves of the key grow by each round."""
LOW = 0xFFFFFFFF
_CHUNK = 1 << 15  # blocks of four words that are counted at once, so that they stay in the cache


def dropout(input: Tensor, p: float, *, training: bool, seed: int, site: int, step: int) -> Tensor:
    """Zero elements with probability ``p`` and scale the rest by 1/(1-p).

    Args:
        input: any shape, float. The mask depends on the number of elements, (seed, site, step) and nothing else.
        training: False returns the input.
        seed: of the run. site: of the call site. step: of the forward pass. The low 64, 32 and 32 bits count.

    Raises:
        ValueError: ``p`` outside [0, 1], or input that is not float.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p is a probability, not {p}")
    if not input.is_floating_point():
        raise ValueError(f"dropout: input is float, not {input.dtype}")
    if not training or p == 0.0:
        return input
    signed = ((seed + 2**63) & (2**64 - 1)) - 2**63  # a schema's int has 64 bits and a sign
    out: Tensor
    out, _ = _dropout(input, p, signed, site & LOW, step & LOW)
    return out


@torch.library.custom_op("portbev::dropout", mutates_args=())
def _dropout(input: Tensor, p: float, seed: int, site: int, step: int) -> tuple[Tensor, Tensor]:
    """The result, and the mask (bool) that the gradient needs: a byte an element is cheaper than counting again."""
    result: tuple[Tensor, Tensor] = dispatch("dropout", "forward", input.device.type, input, p, seed, site, step)
    return result


@_dropout.register_fake
def _(input, p, seed, site, step):  # type: ignore[no-untyped-def]
    out = torch.empty_like(input, memory_format=torch.contiguous_format)
    return out, torch.empty(input.shape, dtype=torch.bool, device=input.device)


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    ctx.p = inputs[1]
    ctx.save_for_backward(output[1])


def _grad(ctx, grad, _):  # type: ignore[no-untyped-def]
    (kept,) = ctx.saved_tensors
    return apply_mask(grad, kept, ctx.p), None, None, None, None


_dropout.register_autograd(_grad, setup_context=_setup)


def apply_mask(input: Tensor, kept: Tensor, p: float) -> Tensor:
    """Kept elements over 1 - p, zero elsewhere, contiguous."""
    scale = 1.0 / (1.0 - p) if p < 1 else 0.0
    return torch.where(kept, input * scale, torch.zeros_like(input)).contiguous()


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


def threshold(p: float) -> int:
    """Words below it drop their element."""
    return round(p * 2**32)


def keep_words(elements: int, seed: int, site: int, step: int, device: torch.device) -> Tensor:
    """(elements,) int64, uniform in [0, 2**32)."""
    words = torch.empty((elements + 3) // 4, 4, dtype=torch.int64, device=device)
    for first in range(0, len(words), _CHUNK):
        block = torch.arange(first, min(first + _CHUNK, len(words)), device=device)
        counter = (block & LOW, block >> 32, torch.full_like(block, step), torch.full_like(block, site))
        torch.stack(philox4x32(counter, (seed & LOW, (seed >> 32) & LOW)), 1, out=words[first : first + _CHUNK])
    return words.reshape(-1)[:elements]


def reference_dropout(input: Tensor, p: float, seed: int, site: int, step: int) -> tuple[Tensor, Tensor]:
    """Definition of the operator."""
    kept = (keep_words(input.numel(), seed, site, step, input.device) >= threshold(p)).reshape(input.shape)
    return apply_mask(input, kept, p), kept


KERNELS.add_reference(Kernel("dropout", "reference", reference_dropout, priority=0))


def _multiply(word: Tensor, constant: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of a 32 by 32 bit product, without leaving the range of int64.

    The constants lie above 2**31: word * (constant - 2**32) lies above -2**63, and the rest, word * 2**32, is added to
    the high half.
    """
    product = word * (constant - 2**32)
    low = product & LOW
    return (product >> 32).add_(word), low
