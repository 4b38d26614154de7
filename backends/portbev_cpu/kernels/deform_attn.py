"""Deformable attention from logits, offsets and references on CPUs: the reference with a faster softmax.

torch takes the softmax over a few neighbouring numbers one by one; written out, all exponentials are taken in vectors.
Over a leading axis it would be faster still, but its bits would depend on the number of threads. The sampling is that
of ``ms_deform_attn`` by its best kernel.
"""

from __future__ import annotations

from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.precision import widened
from portbev.ops.reference import deform_attn as reference


def weights(call: DeformAttnCall) -> Tensor:
    """Attention weights (G, M, L, P) of each query."""
    logits = widened(call.logits)
    each = logits if call.per_level else logits.flatten(-2)
    shares = (each - each.amax(-1, keepdim=True)).exp_()
    total = shares.sum(-1, keepdim=True)
    if call.per_level:
        total *= logits.shape[-2]
    return shares.div_(total).view(logits.shape)


def forward(call: DeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.deform_attn_ragged`."""
    return reference.attend(call, weights(call))


def backward(grad_out: Tensor, call: DeformAttnCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by value, offsets, logits and reference."""
    return reference.gradients(grad_out, call, weights(call))


KERNEL = Kernel(
    operator="deform_attn",
    provider="cpu_fast",
    backends=("cpu",),
    forward=forward,
    backward=backward,
    priority=20,
)
