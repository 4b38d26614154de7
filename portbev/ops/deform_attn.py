"""Multi-scale deformable attention from what a layer predicts: offsets, logits and reference points.

Source: Zhu et al., "Deformable DETR" (ICLR 2021), equation 3: softmax of the logits, sampling locations and weighted
sum in one operator. Anchors are those of BEVFormer's spatial cross-attention (Li et al., ECCV 2022, section 3.3), one
softmax per level and a mean over levels those of its temporal self-attention (section 3.4).

For who writes a kernel: let g = ``query[r]`` (r without ``query``) be the query of row r, and b the image of row r:
the rows of image 0 come first, ``counts`` says how many. For head m, level l of h x w pixels and point p::

    weight[l, p] = softmax of logits[g, m] over (l, p), or, per_level, softmax of logits[g, m, l] over p, divided by L
    x[l, p] = reference[r, l, p % A, 0] * w + offsets[g, m, l, p, 0] - 0.5      (y: 1, h)
    out[r, m] = sum over (l, p) of weight[l, p] * bilinear(value[b, pixels of l, m], x[l, p], y[l, p])

A reference with one level serves all levels. ``offsets``, ``logits`` and ``grad_out`` are read as they come: their last
axes (M, L, P, 2), (M, L, P) and (M, D) are packed as a linear layer leaves them, except where a caller made them
otherwise; kernels that need it say ``contiguous()``. In the backward the gradients of a query's offsets and logits are
the sums over its rows; a sum of fixed order takes the rows as they come (``query.sort(stable=True)`` groups them; in
BEVFormer a query occurs at most once in an image, at ascending places). The softmax is linear in the gradient of the
weights: sum over the rows first, then apply it once. Nothing but the call is kept for the backward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from portbev.ops.checks import need
from portbev.ops.ms_deform_attn import MS_DEFORM_ATTN, MsDeformAttnCall, Shapes, check_maps, counts_of
from portbev.ops.operator import BackwardOperator, Operator
from portbev.ops.precision import HALF, autocast_to_float32, widened


class DeformAttnCall(NamedTuple):
    """The arguments of a call, as kernels get them."""

    value: Tensor  # (B, S, M, D), float: B images, S pixels of all levels, M heads of D channels
    offsets: Tensor  # (G, M, L, P, 2), float, half precision too: (x, y) in pixels of the level, for each of G queries
    logits: Tensor  # (G, M, L, P), float, half precision too
    reference: Tensor  # (R, L or 1, A, 2), float32 or float64: (x, y) from 0 to 1; point p belongs to anchor p % A
    query: Tensor | None  # (R,), int64: whose offsets and logits each row takes; None: row r those of query r
    counts: Tensor  # (B,), int64, on the host: rows of each image, sorted by image
    shapes: list[int]  # height and width of each level: h0, w0, h1, w1, ...
    per_level: bool  # softmax over the points of each level, and the mean over the levels
    reference_gradient: bool  # backward only: whether the gradient by reference is asked for, else it is empty (0,)

    def sizes(self, like: Tensor) -> Tensor:
        """(M, L, P, 2) width and height of each level, with dtype and device of ``like``."""
        sizes = list(zip(self.shapes[1::2], self.shapes[::2], strict=True))
        there = torch.tensor(sizes, dtype=like.dtype).to(like.device, non_blocking=True)
        return there[:, None].expand(self.offsets.shape[1:]).contiguous()

    def weights(self) -> Tensor:
        """Attention weights (G, M, L, P) of each query."""
        logits = widened(self.logits)
        if self.per_level:
            return logits.softmax(-1) / logits.shape[-2]
        return logits.flatten(-2).softmax(-1).view(logits.shape)

    def of_rows(self, of_queries: Tensor) -> Tensor:
        """What belongs to queries (G, ...), for each row (R, ...)."""
        return of_queries if self.query is None else of_queries.index_select(0, self.query)

    def sampling(self, weights: Tensor | None = None) -> MsDeformAttnCall:
        """The same as a call of :mod:`portbev.ops.ms_deform_attn`, with locations and weights of each row.

        Args:
            weights: those of :meth:`weights`, if they are known.
        """
        offsets = widened(self.offsets)
        steps = self.of_rows(offsets / self.sizes(offsets))
        repeats = steps.shape[3] // self.reference.shape[2]
        locations = steps + self.reference.repeat(1, 1, repeats, 1)[:, None]  # (R, 1, L or 1, P, 2)
        weights = self.of_rows(self.weights() if weights is None else weights)
        return MsDeformAttnCall(self.value, locations, weights, self.counts, self.shapes)


def definition(call: DeformAttnCall) -> Tensor:
    """Multi-scale deformable attention with softmaxed weights, at the references plus the offsets."""
    out: Tensor = MS_DEFORM_ATTN.definition(call.sampling())
    return out


DEFORM_ATTN = Operator(
    "deform_attn",
    DeformAttnCall,
    definition=definition,
    fake=lambda call: call.value.new_empty(call.reference.shape[0], call.value.shape[2] * call.value.shape[3]),
    gradient=BackwardOperator(
        differentiable=("value", "offsets", "logits", "reference"),
        on_demand={"reference": "reference_gradient"},
    ),
)


def deform_attn(
    value: Tensor,
    spatial_shapes: Shapes,
    offsets: Tensor,
    logits: Tensor,
    reference: Tensor,
    *,
    per_level: bool = False,
) -> Tensor:
    """:func:`portbev.ops.ms_deform_attn` from logits, offsets and reference points, none of which is copied.

    Args:
        value: (B, S, M, D), float: B images, M heads of D channels; S holds the pixels of all levels, level after
            level, row by row.
        spatial_shapes: (h, w) of each of the L levels, Python integers; the sum of h*w is S.
        offsets: (B, Q, M, L, P, 2), float: (x, y) of each sampling point from its reference, in pixels of its level.
        logits: (B, Q, M, L, P), float: the attention weights are their softmax over the levels and points.
        reference: (B, Q, L or 1, A, 2), float: (x, y) of A anchors, with (0, 0) the upper left corner of the level and
            (1, 1) the lower right one; one level serves all. P is a multiple of A; point p belongs to anchor p % A.
        per_level: the softmax is over the points of each level by itself, and the result the mean over the levels.

    Returns:
        (B, Q, M*D) in the dtype of ``value``.

    Sampling, precision, autocast and determinism are those of :func:`portbev.ops.ms_deform_attn`: half-precision
    values, offsets and logits are computed in float32, references are float32 at least, and under autocast the result
    is float32. Logits are taken to be finite. Differentiable once, by value, offsets, logits and reference.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    name = "deform_attn"
    need(name, offsets.dim() == 6, f"offsets are (B, Q, M, L, P, 2), not {tuple(offsets.shape)}")
    need(name, reference.dim() == 5, f"reference is (B, Q, L or 1, A, 2), not {tuple(reference.shape)}")
    _check(name, value, spatial_shapes, offsets, logits, tuple(offsets.shape[:2]))
    _check_reference(name, offsets, reference, tuple(offsets.shape[:2]))
    images, queries = offsets.shape[:2]
    fits = images == value.shape[0]
    need(name, fits, f"offsets {tuple(offsets.shape)} and value {tuple(value.shape)} are of as many images")
    counts = torch.full((images,), queries, dtype=torch.int64, device="cpu")
    flat = (offsets.flatten(0, 1), logits.flatten(0, 1), reference.flatten(0, 1))
    return _run(value, spatial_shapes, *flat, None, counts, per_level).unflatten(0, (images, queries))


def deform_attn_ragged(
    value: Tensor,
    spatial_shapes: Shapes,
    offsets: Tensor,
    logits: Tensor,
    reference: Tensor,
    query: Tensor,
    counts: Sequence[int] | Tensor,
    *,
    per_level: bool = False,
) -> Tensor:
    """:func:`deform_attn` for pairs of an image and a query: a query may look into several images, or into none.

    Args:
        value: (B, S, M, D), float.
        spatial_shapes: (h, w) of each of the L levels.
        offsets: (G, M, L, P, 2), float, of each of G queries.
        logits: (G, M, L, P), float.
        reference: (R, L or 1, A, 2), float, of each of R pairs; those of image 0 first, then those of image 1, and so
            on.
        query: (R,), int64: the query of each pair, from 0 to G - 1. The values are not checked.
        counts: how many of the R pairs belong to each of the B images, Python integers or a tensor (B,) int64 on the
            host; zeros are fine. The values are looked at where the operator is computed, not where it is traced.

    Returns:
        (R, M*D) in the dtype of ``value``.

    Raises:
        ValueError: shapes, dtypes, devices or counts that do not fit together.
    """
    name = "deform_attn_ragged"
    need(name, offsets.dim() == 5, f"offsets are (G, M, L, P, 2), not {tuple(offsets.shape)}")
    need(name, reference.dim() == 4, f"reference is (R, L or 1, A, 2), not {tuple(reference.shape)}")
    _check(name, value, spatial_shapes, offsets, logits, (offsets.shape[0],))
    _check_reference(name, offsets, reference, (reference.shape[0],))
    fits = query.dtype == torch.int64 and query.device == value.device
    need(name, fits, f"query is int64 on {value.device}, not {query.dtype} on {query.device}")
    fits = tuple(query.shape) == (reference.shape[0],)
    need(name, fits, f"query is ({reference.shape[0]},), one for each reference, not {tuple(query.shape)}")
    return _run(value, spatial_shapes, offsets, logits, reference, query, counts_of(name, counts, value), per_level)


def _run(
    value: Tensor,
    shapes: Shapes,
    offsets: Tensor,
    logits: Tensor,
    reference: Tensor,
    query: Tensor | None,
    counts: Tensor,
    per_level: bool,
) -> Tensor:
    value = autocast_to_float32(value)
    wide = widened(value).dtype
    offsets, logits = (t if t.dtype in HALF and wide == torch.float32 else t.to(wide) for t in (offsets, logits))
    flat = [int(size) for shape in shapes for size in shape]
    call = DeformAttnCall(value, offsets, logits, reference.to(wide), query, counts, flat, per_level, False)
    out: Tensor = DEFORM_ATTN(call)
    return out


def _check(name: str, value: Tensor, shapes: Shapes, offsets: Tensor, logits: Tensor, queries: tuple[int, ...]) -> None:
    """What both forms ask of value, offsets and logits; ``queries`` are the leading sizes of offsets."""
    check_maps(name, value, shapes, {"offsets": offsets, "logits": logits})
    wanted = (*queries, value.shape[2], len(shapes), offsets.shape[-2])
    need(name, tuple(offsets.shape) == (*wanted, 2), f"offsets are {(*wanted, 2)}, not {tuple(offsets.shape)}")
    need(name, tuple(logits.shape) == wanted, f"logits are {wanted}, not {tuple(logits.shape)}")


def _check_reference(name: str, offsets: Tensor, reference: Tensor, rows: tuple[int, ...]) -> None:
    levels, points = offsets.shape[-3:-1]
    found = tuple(reference.shape)
    need(name, reference.is_floating_point(), f"reference: float, not {reference.dtype}")
    need(name, reference.device == offsets.device, f"reference on {reference.device}, offsets on {offsets.device}")
    fits = found[:-3] == rows and found[-3] in (1, levels) and found[-1] == 2
    need(name, fits, f"reference is {(*rows, 'L', 'A', 2)} with L of {levels} or 1, not {found}")
    fits = found[-2] > 0 and points % found[-2] == 0
    need(name, fits, f"reference has {found[-2]} anchors, of which {points} points are no multiple")
