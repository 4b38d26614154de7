"""Faults of kernels: the reference with one thing wrong, at the best priority of the backend ``faulty``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from faults.fault import NAME, PROVIDER
from portbev.kernels import KERNELS, Kernel
from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.dropout import DropoutCall, apply_mask


def planted(operator: str, forward: Callable[[Any], Any], backward: Callable[[Any, Any], Any] | None) -> Kernel:
    """A kernel of the backend ``faulty`` that is asked before all others."""
    return Kernel(operator, PROVIDER, forward, backward, backends=(NAME,), priority=1000)


def with_other_arguments(operator: str, change: Callable[[Any], Any]) -> list[Kernel]:
    """The reference in both directions, of arguments that ``change`` has spoilt."""
    right = KERNELS.references[operator]
    backward = right.backward
    back = None if backward is None else lambda grad, call: backward(grad, change(call))
    return [planted(operator, lambda call: right.forward(change(call)), back)]


def with_other_gradient(operator: str, change: Callable[[Any, Any], Any]) -> list[Kernel]:
    """The reference, whose gradients ``change(gradients, call)`` spoils."""
    right = KERNELS.references[operator]
    backward = right.backward
    assert backward is not None
    return [planted(operator, right.forward, lambda grad, call: change(backward(grad, call), call))]


# ---- deform_attn


def align_corners() -> list[Kernel]:
    """Locations from 0 to 1 lie from the first pixel's centre to the last one's, not from edge to edge."""
    right = KERNELS.references["deform_attn"]

    def flipped(call: DeformAttnCall) -> DeformAttnCall:
        """The same samples as offsets of the right convention, a row at a time."""
        offsets, logits, sizes = call.of_rows(call.offsets), call.of_rows(call.logits), call.sizes(call.offsets)
        anchors = call.reference.repeat(1, 1, offsets.shape[3] // call.reference.shape[2], 1)[:, None] * sizes
        moved = (anchors + offsets) * (sizes - 1) / sizes + 0.5 - anchors
        return call._replace(offsets=moved, logits=logits, query=None)

    def backward(grad: Tensor, call: DeformAttnCall) -> tuple[Tensor, ...]:
        assert right.backward is not None
        sizes = call.sizes(call.offsets)
        value, moved, logits, reference = right.backward(grad, flipped(call))
        if call.reference_gradient:
            pulled = moved.sum(1).unflatten(2, (-1, call.reference.shape[2])).sum(2)  # (R, L, A, 2)
            reference = reference - (pulled if call.reference.shape[1] > 1 else pulled.sum(1, keepdim=True))
        return value, _of_queries(moved * (sizes - 1) / sizes, call), _of_queries(logits, call), reference

    return [planted("deform_attn", lambda call: right.forward(flipped(call)), backward)]


def _of_queries(of_rows: Tensor, call: DeformAttnCall) -> Tensor:
    """Sums over the rows of each query."""
    if call.query is None:
        return of_rows
    return of_rows.new_zeros(call.logits.shape[0], *of_rows.shape[1:]).index_add_(0, call.query, of_rows)


def swapped_offsets() -> list[Kernel]:
    """Offsets are read (y, x) where they are (x, y)."""
    right = KERNELS.references["deform_attn"]

    def swapped(call: DeformAttnCall) -> DeformAttnCall:
        return call._replace(offsets=call.offsets.flip(-1))

    def backward(grad: Tensor, call: DeformAttnCall) -> tuple[Tensor, ...]:
        assert right.backward is not None
        value, offsets, logits, reference = right.backward(grad, swapped(call))
        return value, offsets.flip(-1), logits, reference

    return [planted("deform_attn", lambda call: right.forward(swapped(call)), backward)]


def gradient_times_1_001() -> list[Kernel]:
    """The gradient by the value is a thousandth too large."""
    return with_other_gradient("deform_attn", lambda found, call: (found[0] * 1.001, *found[1:]))


def dropped_term() -> list[Kernel]:
    """The gradient of the softmax lacks the term that is shared by all points of a query."""

    right = KERNELS.references["deform_attn"]
    by_weights = KERNELS.references["ms_deform_attn"].backward

    def backward(grad: Tensor, call: DeformAttnCall) -> Any:
        assert right.backward is not None and by_weights is not None
        value, offsets, logits, reference = right.backward(grad, call)
        weights = call.weights()
        of_rows = by_weights(grad, call.sampling(weights))[2]
        return value, offsets, (weights * _of_queries(of_rows, call)).to(logits.dtype), reference

    return [planted("deform_attn", right.forward, backward)]


# ---- the others


def mask_ignored() -> list[Kernel]:
    """A modulated deformable convolution is computed as one without a mask."""
    return with_other_arguments(
        "deform_conv2d",
        lambda call: call._replace(mask=None if call.mask is None else torch.ones_like(call.mask)),
    )


def pooling_off_by_one() -> list[Kernel]:
    """Points are summed into the next cell along x."""

    def change(call: Any) -> Any:
        return call._replace(voxels=call.voxels + torch.tensor([1, 0, 0], dtype=torch.int32))

    return [kernel for name in ("voxel_pool", "voxel_pool_lift") for kernel in with_other_arguments(name, change)]


def shifted_dropout() -> list[Kernel]:
    """Each element gets the mask of the element before it."""
    right = KERNELS.references["dropout"]

    def forward(call: DropoutCall) -> tuple[Tensor, Tensor]:
        _, kept = right.forward(call)
        kept = kept.flatten().roll(1).reshape(kept.shape)
        return apply_mask(call.input, kept, call.p), kept

    return [planted("dropout", forward, None)]
