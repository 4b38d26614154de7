"""Reference kernel of deformable attention from logits, offsets and references: a composition.

It forms locations and weights and hands them to ``ms_deform_attn``, which is served by the best kernel of the device
and is written in the ledger beside this one. The backward forms them again and goes back by the chain rule.
"""

from __future__ import annotations

from torch import Tensor

from portbev.kernels import KERNELS, REFERENCE, Kernel
from portbev.ops.deform_attn import DeformAttnCall


def forward(call: DeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.deform_attn_ragged`."""
    return attend(call, call.weights())


def backward(grad_out: Tensor, call: DeformAttnCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by value, offsets, logits and reference. A query's rows add up in their order."""
    return gradients(grad_out, call, call.weights())


def attend(call: DeformAttnCall, weights: Tensor) -> Tensor:
    """:func:`forward` with the weights (G, M, L, P) of the call."""
    out: Tensor = KERNELS.dispatch("ms_deform_attn", call.value.device.type, call.sampling(weights))
    return out


def gradients(grad_out: Tensor, call: DeformAttnCall, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`backward` with the weights (G, M, L, P) of the call."""
    found = KERNELS.dispatch("ms_deform_attn", call.value.device.type, call.sampling(weights), grad_out)
    grad_value, grad_locations, grad_weights = found
    grad_reference = _by_reference(grad_locations, call) if call.reference_gradient else grad_out.new_empty(0)
    grad_offsets = _of_queries(grad_locations, call).div_(call.sizes(grad_locations))
    grad_logits = _by_logits(_of_queries(grad_weights, call), weights, call.per_level)
    return grad_value, grad_offsets.to(call.offsets.dtype), grad_logits.to(call.logits.dtype), grad_reference


def _of_queries(of_rows: Tensor, call: DeformAttnCall) -> Tensor:
    """What belongs to rows (R, ...), summed for each query (G, ...); may be ``of_rows`` itself."""
    if call.query is None:
        return of_rows
    return of_rows.new_zeros(len(call.offsets), *of_rows.shape[1:]).index_add_(0, call.query, of_rows)


def _by_logits(grad_weights: Tensor, weights: Tensor, per_level: bool) -> Tensor:
    """Gradient by the logits (G, M, L, P), of which ``weights`` are the softmax (per level: divided by L)."""
    shape = weights.shape
    if not per_level:
        weights, grad_weights = weights.flatten(-2), grad_weights.flatten(-2)
    mean = (weights * grad_weights).sum(-1, keepdim=True)
    if per_level:
        mean = mean * shape[-2]
    return ((grad_weights - mean) * weights).view(shape)


def _by_reference(grad_locations: Tensor, call: DeformAttnCall) -> Tensor:
    """Gradient by the reference (R, L or 1, A, 2): a sum over heads, points of an anchor and, if it has one, levels."""
    levels, anchors = call.reference.shape[1:3]
    heads, points = 1, 3  # of (R, M, L, P/A, A, 2)
    axes = (heads, points) if levels == grad_locations.shape[2] else (heads, 2, points)
    grad = grad_locations.unflatten(3, (-1, anchors)).sum(axes)
    return grad.view(call.reference.shape).to(call.reference.dtype)


KERNEL = Kernel("deform_attn", REFERENCE, forward, backward, priority=0)
