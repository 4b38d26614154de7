"""How far a record may move by rounding alone, measured and not chosen.

Each dump took its step again with weights and inputs moved by one unit in the last place, and with sums in other
orders where there are such (another library, the other memory format). A record's *response* is how far it moved then,
as a Euclidean distance. Its *band* in a dump is the median of its responses, because a step in which some element
happened to cross an edge (a ReLU's zero, a cell's border) moves all that follows by far more than rounding does, and
such a step must not hide a fault; or its response to another order, if that is larger: a normalisation's statistics
that are added up one by one shift whole channels alike, which moves by one unit in the last place do not. It is never
less than half a unit in the last place of each element: every device rounds a result once more.

Two devices differ by rounding in all that came before, which is not the same rounding as the one that was measured: in
a sum of K terms one device adds one by one and the other in a tree, so their errors may stand to each other as the
square root of K over a few units does, some tens for the longest sums of a model. So the distance of two dumps is
beyond rounding where it is more than :data:`FACTOR` times their band (:func:`common_band`). The factor is the same for
every record, dtype and device.
"""

from __future__ import annotations

import math
from statistics import median

import torch

from portbev.parity.dumps.record import Record
from portbev.parity.dumps.sketch import Sketch

FACTOR = 32.0
"""How many bands are too far."""
ULP_STEPS = 2
"""How many reruns, the first ones, move everything by one unit in the last place; the others sum in other orders."""
STEADY = 2.0
"""How much the bands of two dumps may differ at a smooth operator: they are medians of the same few moves."""
SMOOTH = frozenset(
    {
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        *("linear", "matmul", "__matmul__", "bmm", "mm", "addmm", "baddbmm", "einsum", "scaled_dot_product_attention"),
        *("layer_norm", "batch_norm", "group_norm", "instance_norm", "portbev.deform_conv2d", "portbev.fft"),
    }
)
"""Operators whose results are sums of many products: no single edge that is crossed moves them far."""
SUSPECT = FACTOR**0.5
"""How many bands are suspect in what something that is too far was computed from."""


def band(record: Record, sketch: Sketch) -> float | None:
    """The band of a record in its own dump; None where it was not met in any step that was run again."""
    known = [response for response in record.responses if response is not None]
    if record.responses and not known:
        return None
    reordered = [response for response in record.responses[ULP_STEPS:] if response is not None]
    return max(median(known) if known else 0.0, *reordered, half_ulp(sketch))


def common_band(*sides: tuple[Record, Sketch]) -> float | None:
    """The band of two dumps' records: the larger one; None where neither is known.

    A kernel that rounds its inputs to fewer bits answers to the last bit in jumps of its own rounding, so that its band
    would hide it. The results of smooth operators move alike everywhere, and what came before them moves them alike:
    their band is at most :data:`STEADY` times the smaller one.
    """
    known = [found for found in (band(record, sketch) for record, sketch in sides) if found is not None]
    if not known:
        return None
    key = sides[0][0].key
    smooth = key.role == "output" and key.operator in SMOOTH
    return min(max(known), STEADY * min(known)) if smooth else max(known)


def half_ulp(sketch: Sketch) -> float:
    """The norm of half a unit in the last place of each element; 0 for integers and bools."""
    if not sketch.is_floating:
        return 0.0
    dtype = getattr(torch, sketch.dtype)
    return float(torch.finfo(dtype).eps) / 2 * sketch.norm


def is_sparse(a: Sketch, b: Sketch, band: float = 0.0) -> bool:
    """Whether the tensors differ in so few elements, of so many, that an edge that was crossed explains it.

    An element belongs to one of 16 projections, so that three elements change three of them at most, and a dense
    difference nearly all. It is asked of tensors of more than 32 elements. All other elements differ by rounding, which
    changes every projection by about the ``band`` or less.
    """
    if min(a.count, b.count) <= 32 or not (a.projections and b.projections):
        return False
    sizes = [abs(p - q) for p, q in zip(a.projections, b.projections, strict=True)]
    slack = max(1e-3 * max(sizes), band)
    return math.isfinite(max(sizes)) and sum(size > slack for size in sizes) <= 3
