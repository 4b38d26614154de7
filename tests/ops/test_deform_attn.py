"""Deformable attention from logits, offsets and references: against ``ms_deform_attn`` on what a layer would form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.kernels import KERNELS
from portbev.ops import deform_attn, deform_attn_ragged, ms_deform_attn, ms_deform_attn_ragged
from portbev_cpu.kernels import KERNELS as CPU_KERNELS

Shapes = list[tuple[int, int]]
MAPS = [(4, 6), (3, 2), (1, 1)]


@pytest.fixture(autouse=True, scope="module", params=["reference", "cpu_fast"])
def provider(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs by the references and by the CPU's own kernels."""
    before = KERNELS._active, KERNELS._device_type
    KERNELS.use("cpu", KERNELS.rank("cpu", CPU_KERNELS, choice={"all": request.param}))
    yield request.param
    KERNELS._active, KERNELS._device_type = before


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inputs(
    images: int,
    queries: int,
    rows: int | None = None,
    *,
    shapes: Shapes = MAPS,
    points: int = 4,
    anchors: int = 1,
    levels: int = 1,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """value, offsets, logits and reference, dense or, with ``rows``, of pairs."""
    pixels = sum(h * w for h, w in shapes)
    sizes = (*((images,) if rows is None else ()), queries, 2, len(shapes), points)
    rows_of = (images, queries) if rows is None else (rows,)
    return [
        normal(images, pixels, 2, 3, seed=seed, dtype=dtype),
        1.5 * normal(*sizes, 2, seed=seed + 1, dtype=dtype),
        normal(*sizes, seed=seed + 2, dtype=dtype),
        0.5 + 0.3 * normal(*rows_of, levels, anchors, 2, seed=seed + 3, dtype=dtype),
    ]


def as_layers_form_it(
    shapes: Shapes, offsets: Tensor, logits: Tensor, reference: Tensor, per_level: bool
) -> tuple[Tensor, Tensor]:
    """Locations and weights (..., M, L, P), written out level by level and point by point."""
    L, P = offsets.shape[-3:-1]
    anchors, places = reference.shape[-2], []
    for level, (h, w) in enumerate(shapes):
        of_level = reference[..., level if reference.shape[-3] > 1 else 0, :, :]  # (..., A, 2)
        for point in range(P):
            step = offsets[..., level, point, :] / torch.tensor([w, h], dtype=offsets.dtype)
            places.append(of_level[..., None, point % anchors, :] + step)
    locations = torch.stack(places, -2).unflatten(-2, (L, P))
    if per_level:
        return locations, logits.softmax(-1) / L
    return locations, logits.flatten(-2).softmax(-1).unflatten(-1, (L, P))


def with_gradients(run: Any, tensors: list[Tensor]) -> list[Tensor]:
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = run(*leaves)
    return [out, *torch.autograd.grad(out.square().sum(), leaves)]


def close(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    images=st.integers(1, 3),
    queries=st.integers(0, 9),
    anchors=st.integers(1, 3),
    repeats=st.integers(1, 2),
    levelled=st.booleans(),
    per_level=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_equals_attention_at_the_locations_that_layers_form(
    shapes: Shapes,
    images: int,
    queries: int,
    anchors: int,
    repeats: int,
    levelled: bool,
    per_level: bool,
    seed: int,
) -> None:
    levels = len(shapes) if levelled else 1
    tensors = inputs(
        images, queries, shapes=shapes, points=anchors * repeats, anchors=anchors, levels=levels, seed=seed
    )

    def composed(value: Tensor, *rest: Tensor) -> Tensor:
        return ms_deform_attn(value, shapes, *as_layers_form_it(shapes, *rest, per_level))

    def fused(value: Tensor, *rest: Tensor) -> Tensor:
        return deform_attn(value, shapes, *rest, per_level=per_level)

    close(with_gradients(fused, tensors), with_gradients(composed, tensors))


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    queries=st.integers(1, 5),
    per_level=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_pairs_take_the_offsets_and_logits_of_their_query(
    counts: list[int], queries: int, per_level: bool, seed: int
) -> None:
    rows = sum(counts)
    query = torch.randint(queries, (rows,), generator=torch.Generator().manual_seed(seed))
    tensors = inputs(len(counts), queries, rows, anchors=2, seed=seed)

    def composed(value: Tensor, offsets: Tensor, logits: Tensor, reference: Tensor) -> Tensor:
        formed = as_layers_form_it(MAPS, offsets[query], logits[query], reference, per_level)
        return ms_deform_attn_ragged(value, MAPS, *formed, counts)

    def fused(value: Tensor, *rest: Tensor) -> Tensor:
        return deform_attn_ragged(value, MAPS, *rest, query, counts, per_level=per_level)

    close(with_gradients(fused, tensors), with_gradients(composed, tensors))


def test_two_maps_with_a_softmax_each_are_the_mean_of_two_attentions() -> None:
    """Temporal self-attention: the levels of one image stand for the images of two calls."""
    shapes = [(4, 5), (4, 5)]
    value, offsets, logits, reference = inputs(2, 7, shapes=shapes, levels=2)
    both = deform_attn(value, shapes, offsets, logits, reference, per_level=True)
    halves = [
        deform_attn(
            value[:, 20 * level : 20 * level + 20],
            shapes[:1],
            *(t[:, :, :, level : level + 1] for t in (offsets, logits)),
            reference[:, :, level : level + 1],
        )
        for level in range(2)
    ]
    torch.testing.assert_close(both, (halves[0] + halves[1]) / 2)


def test_gradients_equal_finite_differences() -> None:
    shapes, query = [(3, 4), (2, 2)], torch.tensor([1, 0, 1])
    value, offsets, logits, reference = inputs(2, 2, 3, shapes=shapes, points=2, anchors=2, seed=3)
    torch.autograd.gradcheck(
        lambda *tensors: deform_attn_ragged(tensors[0], shapes, *tensors[1:], query, [2, 1]),
        [t.requires_grad_() for t in (value, offsets, logits, reference)],
    )


def test_the_references_gradient_is_computed_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(operator: str, device_type: str, call: Any, grad_out: Any = None) -> Any:
        if operator == "deform_attn" and grad_out is not None:
            asked.append(call.reference_gradient)
        return dispatch(operator, device_type, call, grad_out)

    dispatch = KERNELS.dispatch
    monkeypatch.setattr(KERNELS, "dispatch", spy)
    value, offsets, logits, reference = inputs(1, 3)
    gradients = []
    for wanted in (True, False):
        leaf = reference.clone().requires_grad_(wanted)
        deform_attn(value.requires_grad_(), MAPS, offsets, logits, leaf).sum().backward()
        gradients.append(leaf.grad)
    assert asked == [True, False]
    assert gradients[0] is not None and gradients[0].any() and gradients[1] is None


@pytest.mark.parametrize("compiled", [False, True])
def test_a_compiled_graph_has_the_references_gradient_where_it_is_asked_for(compiled: bool) -> None:
    torch._dynamo.reset()
    value, offsets, logits, reference = inputs(1, 3)

    def run(reference: Tensor) -> Tensor:
        return deform_attn(value, MAPS, offsets, logits, reference).square().sum()

    (expected,) = torch.autograd.grad(run(leaf := reference.clone().requires_grad_()), leaf)
    function = torch.compile(run, fullgraph=True, backend="aot_eager") if compiled else run
    (found,) = torch.autograd.grad(function(leaf), leaf)
    assert torch.equal(found, expected)


def test_the_ledger_names_who_sampled(provider: str) -> None:
    KERNELS.ledger.clear()
    tensors = [t.requires_grad_() for t in inputs(1, 40)]
    deform_attn(tensors[0], MAPS, *tensors[1:]).sum().backward()
    served = KERNELS.ledger.served
    assert served["ms_deform_attn", "forward", provider] == served["ms_deform_attn", "backward", provider] == 1
    assert served["deform_attn", "forward", provider] == served["deform_attn", "backward", provider] == 1


def test_a_query_that_no_image_sees_gets_no_gradient() -> None:
    value, *rest = (t.requires_grad_() for t in inputs(2, 3, 4))
    out = deform_attn_ragged(value, MAPS, *rest, torch.tensor([0, 2, 0, 2]), [4, 0])
    by_value, by_offsets, by_logits = torch.autograd.grad(out.square().sum(), [value, *rest[:2]])
    assert not by_value[1].any() and not by_offsets[1].any() and not by_logits[1].any()
    assert by_offsets[0].any() and by_logits[2].any()


def test_no_pairs_at_all_give_an_empty_result_and_zero_gradients() -> None:
    value, *rest = (t.requires_grad_() for t in inputs(2, 3, 0))
    out = deform_attn_ragged(value, MAPS, *rest, torch.zeros(0, dtype=torch.int64), [0, 0])
    assert out.shape == (0, 6)
    for tensor, gradient in zip([value, *rest], torch.autograd.grad(out.sum(), [value, *rest]), strict=True):
        assert gradient.shape == tensor.shape and not gradient.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_arguments_are_computed_in_float32_and_rounded_once(dtype: torch.dtype) -> None:
    tensors = [t.to(dtype).requires_grad_() for t in inputs(1, 40)]
    wide = [t.detach().float().requires_grad_() for t in tensors]
    out, exact = (deform_attn(t[0], MAPS, *t[1:]) for t in (tensors, wide))
    assert out.dtype == dtype
    assert torch.equal(out, exact.to(dtype))
    grad_out = torch.linspace(-1, 1, out.numel()).view(out.shape).to(dtype)
    gradients = torch.autograd.grad(out, tensors, grad_out)
    expected = torch.autograd.grad(exact, wide, grad_out.float())
    for one, other in zip(gradients, expected, strict=True):
        assert one.dtype == dtype
        assert torch.equal(one, other.to(dtype))


def test_autocast_leaves_half_precision_offsets_alone_and_returns_float32() -> None:
    value, offsets, logits, reference = (t.float() for t in inputs(1, 40))
    offsets, logits = offsets.bfloat16(), logits.bfloat16()  # as a linear layer leaves them under autocast
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = deform_attn(value.bfloat16(), MAPS, offsets, logits, reference)
    assert torch.equal(out, deform_attn(value.bfloat16().float(), MAPS, offsets.float(), logits.float(), reference))


DENSE: dict[str, tuple[str, dict[str, Any]]] = {
    "offset dimensions": ("offsets are", {"offsets": torch.rand(1, 5, 2, 4, 2)}),
    "offset levels": ("offsets are", {"offsets": torch.rand(1, 5, 2, 2, 4, 2)}),
    "logits": ("logits are", {"logits": torch.rand(1, 5, 2, 1, 3)}),
    "integer logits": ("logits: float", {"logits": torch.ones(1, 5, 2, 1, 4, dtype=torch.int64)}),
    "reference dimensions": ("reference is", {"reference": torch.rand(1, 5, 1, 2)}),
    "reference rows": ("reference is", {"reference": torch.rand(1, 4, 1, 1, 2)}),
    "reference levels": ("reference is", {"reference": torch.rand(1, 5, 2, 1, 2)}),
    "integer reference": ("reference: float", {"reference": torch.ones(1, 5, 1, 1, 2, dtype=torch.int64)}),
    "reference device": ("reference on meta", {"reference": torch.rand(1, 5, 1, 1, 2, device="meta")}),
    "anchors": ("reference has 3 anchors", {"reference": torch.rand(1, 5, 1, 3, 2)}),
    "pixels": ("value has 11 pixels", {"value": torch.rand(1, 11, 2, 3)}),
    "images": ("of as many images", {"value": torch.rand(2, 12, 2, 3)}),
}


@pytest.mark.parametrize("what", DENSE)
def test_bad_arguments_are_named(what: str) -> None:
    text, change = DENSE[what]
    good = dict(zip(("value", "offsets", "logits", "reference"), inputs(1, 5, shapes=[(3, 4)]), strict=True))
    with pytest.raises(ValueError, match=f"^deform_attn: .*{text}"):
        deform_attn(spatial_shapes=[(3, 4)], **{**good, **change})


PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "too few query numbers": ("query is", {"query": torch.zeros(2, dtype=torch.int64)}),
    "query numbers of another kind": ("query is int64", {"query": torch.zeros(3, dtype=torch.int32)}),
    "too few counts": ("counts", {"counts": [3]}),
    "counts of other rows": ("counts add up to 4", {"counts": [2, 2]}),
    "a dense reference": ("reference is", {"reference": torch.rand(1, 3, 1, 1, 2)}),
}


@pytest.mark.parametrize("what", PAIRS)
def test_bad_pairs_are_named(what: str) -> None:
    text, change = PAIRS[what]
    good = dict(zip(("value", "offsets", "logits", "reference"), inputs(2, 5, 3, shapes=[(3, 4)]), strict=True))
    rest = {"query": torch.zeros(3, dtype=torch.int64), "counts": [2, 1]}
    with pytest.raises(ValueError, match=rf"^(ms_)?deform_attn_ragged: .*{text}"):
        deform_attn_ragged(spatial_shapes=[(3, 4)], **{**good, **rest, **change})
