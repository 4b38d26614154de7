"""Dropout whose mask is counted, not drawn: the same on every device.

Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011), Philox4x32-10. Element i of the input
(row-major), counted from ``first``, takes word ``i % 4`` of the block with counter ``(i // 4 low, i // 4 high, step,
site)`` and key ``seed``. Whoever has a part of a tensor counts on from where the part begins.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from portbev.ops.checks import need
from portbev.ops.operator import Formula, Operator

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
STEPS = 0x9E3779B9, 0xBB67AE85
"""What the two halves of the key grow by each round."""
LOW = 0xFFFFFFFF


class DropoutCall(NamedTuple):
    """The arguments of a call, as kernels get them."""

    input: Tensor  # any shape, float
    p: float  # above 0, at most 1
    seed: int  # 64 bits, signed
    site: int  # 32 bits
    step: int  # 32 bits
    first: int = 0  # number of the input's first element, at least 0


def definition(call: DropoutCall) -> tuple[Tensor, Tensor]:
    """The result, and which elements are kept (bool): those whose word is at least p * 2**32."""
    input, p, seed, site, step, first = call
    words = [philox_word(first + i, seed, site, step) for i in range(input.numel())]
    kept = torch.tensor([word >= threshold(p) for word in words], dtype=torch.bool).reshape(input.shape)
    return apply_mask(input, kept.to(input.device), p), kept.to(input.device)


def philox_word(index: int, seed: int, site: int, step: int) -> int:
    """The 32 bits that decide on element ``index``: ten rounds of Philox4x32 in Python's integers."""
    block, word = divmod(index, 4)
    c0, c1, c2, c3 = block & LOW, block >> 32, step, site
    k0, k1 = seed & LOW, (seed >> 32) & LOW
    for _ in range(10):
        first, second = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (second >> 32) ^ c1 ^ k0, second & LOW, (first >> 32) ^ c3 ^ k1, first & LOW
        k0, k1 = (k0 + STEPS[0]) & LOW, (k1 + STEPS[1]) & LOW
    return (c0, c1, c2, c3)[word]


def threshold(p: float) -> int:
    """Words below it drop their element."""
    return round(p * 2**32)


def apply_mask(input: Tensor, kept: Tensor, p: float) -> Tensor:
    """Kept elements over 1 - p, zero elsewhere, contiguous."""
    scale = 1.0 / (1.0 - p) if p < 1 else 0.0
    return torch.where(kept, input, input.new_zeros(())).mul_(scale).contiguous()


def _fake(call: DropoutCall) -> tuple[Tensor, Tensor]:
    out = torch.empty_like(call.input, memory_format=torch.contiguous_format)
    return out, torch.empty(call.input.shape, dtype=torch.bool, device=call.input.device)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    """The gradient needs the mask: a byte an element is cheaper than counting again."""
    ctx.p = DropoutCall(*inputs).p
    ctx.save_for_backward(output[1])


def _gradient(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, None, None, None, None, None]:
    (kept,) = ctx.saved_tensors
    return apply_mask(grad, kept, ctx.p), None, None, None, None, None


DROPOUT = Operator(
    "dropout", DropoutCall, definition=definition, fake=_fake, gradient=Formula(_keep, _gradient), results=2
)


def dropout(input: Tensor, p: float, *, training: bool, seed: int, site: int, step: int, first: int = 0) -> Tensor:
    """Zero elements with probability ``p`` and scale the rest by 1/(1-p).

    Args:
        input: any shape, float. The mask depends on the number of elements, (seed, site, step, first) and nothing else.
        training: False returns the input.
        seed: of the run. site: of the call site. step: of the forward pass. The low 64, 32 and 32 bits count.
        first: elements that lie before the input in the whole that it is a part of: the mask is the whole's, there.

    Raises:
        ValueError: ``p`` outside [0, 1], input that is not float, or ``first`` below 0.
    """
    need("dropout", 0.0 <= p <= 1.0, f"p is a probability, not {p}")
    need("dropout", input.is_floating_point(), f"input is float, not {input.dtype}")
    need("dropout", first >= 0, f"first is at least 0, not {first}")
    if not training or p == 0.0:
        return input
    signed = ((seed + 2**63) & (2**64 - 1)) - 2**63  # a schema's int has 64 bits and a sign
    out: Tensor
    out, _ = DROPOUT(DropoutCall(input, p, signed, site & LOW, step & LOW, first))
    return out
