"""Deformable attention from offsets, logits and references in Triton.

As :mod:`portbev_triton.ms_deform_attn`, and the softmax and the sampling locations are computed where they are used: of
a visible row of BEVFormer-base 32 bytes of references take the place of 3 KB of locations and weights, and a query's
3 KB of offsets and logits (half of that in half precision) are read where they are, without a copy for each row.

Backward: a program takes queries, and of each its rows one after another, so that the gradients by offsets and logits
are added in one order. The rows of a query are found by a sort, once for each tensor of query numbers. The gradient by
the weights is written once and goes through the softmax in a pass of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from portbev.kernels import Kernel
from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev_triton.fixed_point import FixedPoint, fixed_point, largest
from portbev_triton.launch import launch
from portbev_triton.ms_deform_attn import constants_of, grid, power_of_two, tables
from portbev_triton.probe import ATOMIC, BACKENDS, TRITON, probe, unsupported_dtype
from portbev_triton.variants import DTYPES, Variant


def supports(call: DeformAttnCall) -> str | None:
    """float32, float16 and bfloat16; rows, queries, and elements of an image's values, are below 2**31."""
    many = max(call.reference.shape[0], call.offsets.shape[0], call.value[:1].numel())
    if many >= 2**31:
        return f"{many} rows, or elements of an image, do not fit int32"
    return unsupported_dtype(call.value.dtype, call.offsets.dtype, call.logits.dtype, call.reference.dtype)


def forward(call: DeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.deform_attn_ragged`."""
    from portbev_triton.source.deform_attn import deform_attn_kernel

    value, offsets, logits, reference = _tensors(call)
    rows, (heads, channels) = reference.shape[0], value.shape[2:]
    ends, levels = tables(_counts(call), call.shapes, value.device)
    constants: dict[str, Any] = _constants(call, len(ends))
    query = reference if call.query is None else call.query.contiguous()
    out = torch.empty(rows, heads * channels, dtype=value.dtype, device=value.device)
    launch(
        "deform_attn",
        deform_attn_kernel,
        lambda c: grid(rows, heads, c),
        *(value, offsets, logits, reference, query, ends, levels, out, rows),
        operator="deform_attn",
        like=value,
        **constants,
    )
    return out


def backward(grad_out: Tensor, call: DeformAttnCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by value, offsets, logits and reference; equal bits for equal arguments."""
    bound = largest(grad_out, 0).view(call.value.shape[2:])  # the weights of a row add up to 1
    sums = fixed_point(call.value.shape, bound, max(_counts(call), default=0))
    others = _backward(grad_out, call, sums.sums, sums)
    return sums.settled().to(call.value.dtype), *others


def backward_atomic(grad_out: Tensor, call: DeformAttnCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by value, offsets, logits and reference; the first is added up in no order."""
    sums = torch.zeros(call.value.shape, dtype=torch.float32, device=grad_out.device)
    others = _backward(grad_out, call, sums, None)
    return sums.to(call.value.dtype), *others


def variants() -> Iterator[Variant]:
    """BEVFormer-base's spatial attention (rows look up their query) and the temporal one (a softmax per level)."""
    from portbev_triton.source import deform_attn as source

    spatial = constants_of(pixels=30_825, heads=8, channels=32, levels=4, points=8, images=6)
    spatial |= {"POINT_LEVELS": 1, "ANCHORS": 4, "PER_LEVEL": False, "PAIRS": True, "BLOCK_TERMS": 32}
    temporal = constants_of(pixels=80_000, heads=8, channels=32, levels=2, points=4, images=1)
    temporal |= {"POINT_LEVELS": 2, "ANCHORS": 1, "PER_LEVEL": True, "PAIRS": False, "BLOCK_TERMS": 4}
    cases = [("spatial", dtype, spatial) for dtype in DTYPES] + [("temporal", "fp32", temporal)]
    for case, dtype, constants in cases:
        floats = ("value", "grad_out", "out", "offsets", "logits", "grad_offsets", "grad_logits")
        signature = dict.fromkeys(floats, f"*{dtype}")
        signature |= dict.fromkeys(("reference", "scale", "grad_weights", "grad_locations"), "*fp32")
        signature |= {"query": "*i64", "order": "*i32", "starts": "*i32"}
        signature |= {"ends": "*i32", "levels": "*i32", "poisoned": "*i8", "channel_stride": "i32"}
        signature |= dict.fromkeys(("rows", "queries", "softmaxes"), "i32")
        label = f"{case}, {dtype}"
        yield Variant("deform_attn", label, source.deform_attn_kernel, signature, constants)
        for name, fixed in (("deform_attn_backward", True), ("deform_attn_backward_atomic", False)):
            typed = {**signature, "sums": "*i64" if fixed else "*fp32"}
            more = {**constants, "FIXED": fixed, "LOCATIONS": False}
            yield Variant(name, label, source.deform_attn_backward_kernel, typed, more)
        terms = {"TERMS": constants["BLOCK_TERMS"], "SHARES": 1, "BLOCK_TERMS": constants["BLOCK_TERMS"]}
        yield Variant("deform_attn_softmax_backward", label, source.softmax_backward_kernel, signature, terms)


def _backward(
    grad_out: Tensor, call: DeformAttnCall, sums: Tensor, fixed: FixedPoint | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Adds to ``sums``; gradients by offsets, logits and reference."""
    from portbev_triton.source.deform_attn import deform_attn_backward_kernel

    value, offsets, logits, reference = _tensors(call)
    queries, heads = offsets.shape[:2]
    ends, levels = tables(_counts(call), call.shapes, value.device)
    constants: dict[str, Any] = _constants(call, len(ends))
    order, starts = (ends, ends) if call.query is None else rows_of(call.query, queries)
    grad_offsets = torch.empty_like(offsets)
    grad_weights = torch.empty(logits.shape, dtype=torch.float32, device=logits.device)
    grad_locations = grad_weights
    if call.reference_gradient:
        grad_locations = grad_weights.new_empty(reference.shape[0], *offsets.shape[1:])
    marks, scale = (sums, sums) if fixed is None else (fixed.poisoned, fixed.scale)
    launch(
        "deform_attn_backward" if fixed else "deform_attn_backward_atomic",
        deform_attn_backward_kernel,
        lambda c: grid(queries, heads, c),
        *(grad_out.contiguous(), value, offsets, logits, reference, order, starts, ends, levels),
        *(sums, marks, scale, grad_offsets, grad_weights, grad_locations, queries, 1),
        operator="deform_attn",
        like=value,
        accumulates=(sums,) if fixed is None else (sums, fixed.poisoned),
        FIXED=fixed is not None,
        LOCATIONS=call.reference_gradient,
        **constants,
    )
    grad_reference = _by_reference(grad_locations, call) if call.reference_gradient else grad_out.new_empty(0)
    return grad_offsets, _by_logits(grad_weights, logits, call.per_level), grad_reference


def _by_logits(grad_weights: Tensor, logits: Tensor, per_level: bool) -> Tensor:
    """Gradient by the logits (G, M, L, P) from that by the weights."""
    from portbev_triton.source.deform_attn import softmax_backward_kernel

    levels, points = logits.shape[2:]
    terms, shares = (points, levels) if per_level else (levels * points, 1)
    softmaxes, block = logits.numel() // max(1, terms), power_of_two(terms)
    grad_logits = torch.empty_like(logits)
    launch(
        "deform_attn_softmax_backward",
        softmax_backward_kernel,
        lambda c: (-(-softmaxes // (c["BLOCK"] // c["BLOCK_TERMS"])),),
        *(logits, grad_weights, grad_logits, softmaxes),
        operator="deform_attn",
        like=logits,
        TERMS=terms,
        SHARES=shares,
        BLOCK_TERMS=block,
    )
    return grad_logits


def _by_reference(grad_locations: Tensor, call: DeformAttnCall) -> Tensor:
    """Gradient by the reference (R, L or 1, A, 2): over heads, the points of an anchor and, if it has one, levels."""
    levels, anchors = call.reference.shape[1:3]
    by_anchor = grad_locations.unflatten(3, (-1, anchors))  # (R, M, L, P/A, A, 2)
    summed = by_anchor.sum((1, 3)) if levels == by_anchor.shape[2] else by_anchor.sum((1, 2, 3))
    return summed.view(call.reference.shape).to(call.reference.dtype)


def rows_of(query: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    """``order`` (rows,): the rows by query, of a query in their order; ``starts`` (queries + 1,): each query's first.

    Both are int32. They are kept as long as the tensor is, and made anew when it was written to. Nothing is read by the
    host.
    """
    if query.is_inference():  # has no count of the times it was written to
        return _sorted(query, queries)
    found = _known.get(query)
    if found is None or found[:2] != (query._version, queries):
        found = (query._version, queries, _sorted(query, queries))
        _known[query] = found
    rows: tuple[Tensor, Tensor] = found[2]
    return rows


_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # query -> (version, queries, rows)


def _sorted(query: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    numbers, order = torch.sort(query, stable=True)
    starts = torch.searchsorted(numbers, torch.arange(queries + 1, device=query.device), out_int32=True)
    return order.int(), starts


def _counts(call: DeformAttnCall) -> list[int]:
    """Rows of each image, found right."""
    return MsDeformAttnCall(call.value, call.reference, call.logits, call.counts, call.shapes).queries()


def _tensors(call: DeformAttnCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Value, offsets, logits and reference, packed."""
    return call.value.contiguous(), call.offsets.contiguous(), call.logits.contiguous(), call.reference.contiguous()


def _constants(call: DeformAttnCall, images: int) -> dict[str, int]:
    (_, pixels, heads, channels), (levels, points) = call.value.shape, call.logits.shape[2:]
    constants = constants_of(pixels, heads, channels, levels, points, images)
    constants |= {"POINT_LEVELS": call.reference.shape[1], "ANCHORS": call.reference.shape[2]}
    terms = points if call.per_level else levels * points
    return constants | {
        "PER_LEVEL": call.per_level,
        "PAIRS": call.query is not None,
        "BLOCK_TERMS": power_of_two(terms),
    }


KERNELS = (
    Kernel("deform_attn", TRITON, forward, backward, backends=BACKENDS, supports=supports, priority=20, probe=probe),
    Kernel(
        "deform_attn",
        ATOMIC,
        forward,
        backward_atomic,
        backends=BACKENDS,
        supports=supports,
        priority=25,
        deterministic=False,
        probe=probe,
    ),
)
