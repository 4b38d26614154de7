"""Deformable attention from logits, offsets and references in Triton, by the interpreter, against its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.kernels import KERNELS
from portbev.ops import deform_attn_ragged
from portbev.ops.deform_attn import DeformAttnCall, definition
from portbev.ops.gradients import gradients
from portbev.ops.reference import deform_attn as reference
from portbev.opscheck.small import in_float64
from portbev_triton import deform_attn

Backward = Callable[[Tensor, DeformAttnCall], tuple[Tensor, Tensor, Tensor, Tensor]]
BACKWARDS = pytest.mark.parametrize("backward", [deform_attn.backward, deform_attn.backward_atomic])
FIELDS = ("value", "offsets", "logits", "reference")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
EPSILON = torch.finfo(torch.float32).eps


def predicted(
    shapes: list[tuple[int, int]],
    counts: list[int],
    *,
    heads: int = 2,
    depth: int = 4,
    anchors: int = 1,
    repeats: int = 2,
    queries: int | None = None,
    reference_per_level: bool = False,
    per_level: bool = False,
    reference_gradient: bool = False,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> DeformAttnCall:
    """With ``queries`` the rows look theirs up, some several times and some never."""
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng)

    rows, levels = sum(counts), len(shapes)
    samples = (rows if queries is None else queries, heads, levels, anchors * repeats)
    return DeformAttnCall(
        value=normal(len(counts), sum(h * w for h, w in shapes), heads, depth).to(dtype),
        offsets=(1.5 * normal(*samples, 2)).to(dtype),
        logits=normal(*samples).to(dtype),
        reference=0.5 + 0.3 * normal(rows, levels if reference_per_level else 1, anchors, 2),
        query=None if queries is None else torch.randint(0, max(queries, 1), (rows,), generator=rng),
        counts=torch.tensor(counts, dtype=torch.int64),
        shapes=[n for shape in shapes for n in shape],
        per_level=per_level,
        reference_gradient=reference_gradient,
    )


def gradient_like(call: DeformAttnCall) -> Tensor:
    rng = torch.Generator().manual_seed(9)
    heads, depth = call.value.shape[2:]
    return torch.randn(len(call.reference), heads * depth, generator=rng).to(call.value.dtype)


def magnitudes(call: DeformAttnCall, grad: Tensor) -> list[Tensor]:
    """What results and gradients are made of: absolute terms added up, at most, times how often they are rounded.

    Times float32's epsilon they are an error's size: of a position in pixels, of a softmax and of a sum.
    """
    rows, (heads, levels, points) = len(call.reference), call.logits.shape[1:]
    largest, grads = max(call.shapes), grad.abs().double()
    rounded = 16 + 8 * call.logits.abs().max().double() + 4 * largest * (1 + call.reference.abs().max().double())
    rounded = rounded + 4 * call.offsets.abs().max().double() + 4 * levels * points
    most, of_query = call.value.abs().max().double(), 1 if call.query is None else int(call.query.bincount().max())
    by_sample = (rounded + call.value.shape[3]) * grads.sum(1).max() * most * of_query
    by_value = (rounded + rows * points) * grads.sum(0).max()
    return [rounded * most, by_value, 2 * by_sample, 2 * by_sample, 2 * largest * heads * levels * points * by_sample]


def check(call: DeformAttnCall, backward: Backward) -> None:
    """Forward and gradients are those of the definition: off by float32's additions, and rounded once."""
    grad = gradient_like(call)
    floats = {name: getattr(call, name).double() for name in FIELDS}
    wide = call._replace(**floats)
    found = [deform_attn.forward(call), *backward(grad, call)]
    if len(call.reference) == 0:
        assert not any(mine.any() for mine in found)
        assert [mine.shape for mine in found[1:4]] == [getattr(call, name).shape for name in FIELDS[:3]]
        return
    expected = [definition(wide), *gradients(definition, wide, FIELDS, grad.double())]
    if not call.reference_gradient:
        empty = found.pop()
        assert empty.numel() == 0 and empty.dtype == grad.dtype  # as torch.compile is told
        expected.pop()
    like = [call.value, *(getattr(call, name) for name in FIELDS)]
    for mine, right, size, source in zip(found, expected, magnitudes(call, grad), like, strict=False):
        assert mine.dtype == source.dtype and mine.shape == right.shape
        rounding = 0.0 if mine.dtype == torch.float32 else torch.finfo(mine.dtype).eps / 2
        tiny = torch.finfo(mine.dtype).smallest_normal * torch.finfo(mine.dtype).eps
        assert ((mine.double() - right).abs() <= right.abs() * rounding + EPSILON * size + tiny).all()


@BACKWARDS
@settings(max_examples=6, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    heads=st.integers(1, 3),
    depth=st.integers(1, 6),
    anchors=st.integers(1, 3),
    repeats=st.integers(1, 4),
    queries=st.none() | st.integers(1, 5),
    reference_per_level=st.booleans(),
    per_level=st.booleans(),
    reference_gradient=st.booleans(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_equals_its_definition_for_any_shape(
    shapes: list[tuple[int, int]], counts: list[int], backward: Backward, **drawn: object
) -> None:
    check(predicted(shapes, counts, **drawn), backward)  # type: ignore[arg-type]


@BACKWARDS
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_several_programs_of_rows_and_of_queries(backward: Backward, dtype: torch.dtype) -> None:
    check(predicted([(4, 6)], [70, 0, 75], heads=1, anchors=4, queries=130, dtype=dtype), backward)


@BACKWARDS
def test_more_points_than_a_tile_with_a_softmax_for_each_level(backward: Backward) -> None:
    call = predicted([(4, 6), (4, 6)], [9], anchors=1, repeats=11, per_level=True, reference_per_level=True)
    check(call._replace(reference_gradient=True), backward)


@BACKWARDS
def test_a_query_without_rows_gets_zeros_and_one_with_many_their_sum(backward: Backward) -> None:
    call = predicted([(4, 5)], [8, 7], queries=4)
    call = call._replace(query=torch.where(call.query == 2, 1, call.query))
    check(call, backward)
    _, by_offsets, by_logits, _ = backward(gradient_like(call), call)
    assert not by_offsets[2].any() and not by_logits[2].any() and by_offsets[1].any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # by the interpreter's numpy
@BACKWARDS
@pytest.mark.parametrize("coordinate", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("queries", [None, 4])
def test_a_point_without_a_place_reads_zero_and_sends_no_gradient(
    backward: Backward, coordinate: float, queries: int | None
) -> None:
    call = predicted([(3, 4)], [3, 2], queries=queries)
    offsets, moved = call.offsets.clone(), call.offsets.clone()
    offsets[..., 1, 0] = coordinate
    moved[..., 1, 0] = 1000.0
    lost, far = call._replace(offsets=offsets), call._replace(offsets=moved)
    assert torch.equal(deform_attn.forward(lost), deform_attn.forward(far))
    grad = gradient_like(call)
    for one, other in zip(backward(grad, lost), backward(grad, far), strict=True):
        torch.testing.assert_close(one, other)
    assert not backward(grad, lost)[1][..., 1, :].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_bits_in_any_order_of_programs(dtype: torch.dtype, another_order: list[int]) -> None:
    call = predicted([(2, 3), (1, 2)], [80, 0, 60], heads=1, repeats=3, queries=140, dtype=dtype)
    call = call._replace(reference_gradient=True)
    grad = gradient_like(call)
    first, launches = deform_attn.backward(grad, call), another_order[0]
    for one, other in zip(deform_attn.backward(grad, call), first, strict=True):
        assert torch.equal(one, other)
    assert another_order[0] == 2 * launches > 0


@BACKWARDS
def test_views_that_are_not_contiguous(backward: Backward) -> None:
    call = predicted([(4, 5), (2, 2)], [6, 3], heads=2, anchors=2, queries=7, reference_gradient=True)
    assert call.query is not None
    loose = call._replace(
        value=call.value.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        offsets=call.offsets.transpose(0, 3).contiguous().transpose(0, 3),
        logits=torch.stack((call.logits, call.logits), -1)[..., 0],
        reference=call.reference.flip(0).contiguous().flip(0),
        query=torch.stack((call.query, call.query), 1)[:, 0],
    )
    grad = gradient_like(call)
    assert torch.equal(deform_attn.forward(loose), deform_attn.forward(call))
    for one, other in zip(backward(grad.t().contiguous().t(), loose), backward(grad, call), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@BACKWARDS
@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_gradient_that_is_not_finite_reaches_its_pixels_and_no_others(backward: Backward, bad: float) -> None:
    call = predicted([(5, 6)], [6, 5], queries=8)
    grad = gradient_like(call)
    grad[7, 5] = bad  # head 1, channel 1, of image 1
    found = backward(grad, call)
    touched = reference.backward(torch.where(grad.isfinite(), 0.0, 1.0), call)[0] != 0
    assert touched.any() and not touched[0].any()
    assert torch.equal(found[0].isfinite(), ~touched)
    for mine, right in zip(found[1:3], reference.backward(grad, call)[1:3], strict=True):
        assert not mine.isfinite().all() and torch.equal(mine.isfinite(), right.isfinite())


def test_the_rows_of_a_tensor_of_query_numbers_are_sorted_once_and_again_when_it_was_written_to() -> None:
    query = torch.tensor([2, 0, 2, 5, 0])
    order, starts = deform_attn.rows_of(query, 6)
    assert order.tolist() == [1, 4, 0, 2, 3] and starts.tolist() == [0, 2, 2, 4, 4, 4, 5]
    assert deform_attn.rows_of(query, 6)[0] is order
    assert deform_attn.rows_of(query, 7)[1].tolist() == [0, 2, 2, 4, 4, 4, 5, 5]
    query[0] = 1
    assert deform_attn.rows_of(query, 6)[0].tolist() == [1, 4, 0, 2, 3]
    assert deform_attn.rows_of(query, 6)[1].tolist() == [0, 2, 3, 4, 4, 4, 5]


def test_counts_that_are_not_those_of_the_rows_are_refused() -> None:
    call = predicted([(2, 2)], [2, 1])._replace(counts=torch.tensor([2, 2]))
    with pytest.raises(ValueError, match="counts add up to 4, not 3 rows"):
        deform_attn.forward(call)


@pytest.mark.parametrize("reference_gradient", [False, True])
def test_autograd_goes_through_the_kernels_and_asks_for_the_references_gradient_only_if_it_is_needed(
    reference_gradient: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = [replace(kernel, probe=lambda: None) for kernel in deform_attn.KERNELS]
    monkeypatch.setattr(KERNELS, "_active", KERNELS.rank("cuda", offered))
    monkeypatch.setattr(KERNELS, "_device_type", "cpu")
    call = predicted([(4, 5), (2, 2)], [3, 4], anchors=2, queries=5)
    leaves = {name: getattr(call, name).requires_grad_() for name in FIELDS[: 4 if reference_gradient else 3]}
    shapes = [(4, 5), (2, 2)]
    KERNELS.ledger.clear()
    out = deform_attn_ragged(call.value, shapes, *call[1:4], call.query, call.counts)  # type: ignore[arg-type]
    found = torch.autograd.grad(out.sum(), list(leaves.values()))
    assert {served[2] for served in KERNELS.ledger.served} == {"triton"}
    expected = gradients(definition, call, list(leaves), torch.ones_like(out))
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-5)


def test_float64_is_left_to_the_reference_and_everything_else_is_not() -> None:
    call = predicted([(2, 2)], [1], dtype=torch.bfloat16)
    assert deform_attn.supports(call) is None
    assert "float64" in str(deform_attn.supports(in_float64(predicted([(2, 2)], [1]))))
    assert {kernel.provider for kernel in deform_attn.KERNELS} == {"triton", "triton_atomic"}
    assert KERNELS.references["deform_attn"].provider == "reference"
