"""Multi-scale deformable attention in Triton, by the interpreter, against its definition in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.kernels import KERNELS
from portbev.ops.gradients import gradients
from portbev.ops.ms_deform_attn import MsDeformAttnCall, definition
from portbev.ops.reference import ms_deform_attn as reference
from portbev.opscheck.small import in_float64
from portbev_triton import ms_deform_attn
from portbev_triton.launch import settings as launch_settings

Backward = Callable[[Tensor, MsDeformAttnCall], tuple[Tensor, Tensor, Tensor]]
BACKWARDS = pytest.mark.parametrize("backward", [ms_deform_attn.backward, ms_deform_attn.backward_atomic])
FIELDS = ("value", "locations", "weights")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def attention(
    shapes: list[tuple[int, int]],
    counts: list[int],
    *,
    heads: int = 2,
    depth: int = 4,
    points: int = 2,
    reach: float = 0.4,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> MsDeformAttnCall:
    rng = torch.Generator().manual_seed(seed)
    samples, pixels = (sum(counts), heads, len(shapes), points), sum(h * w for h, w in shapes)
    value = torch.randn(len(counts), pixels, heads, depth, generator=rng).to(dtype)
    locations = 0.5 + reach * torch.randn(*samples, 2, generator=rng)
    weights = torch.randn(samples, generator=rng)
    return MsDeformAttnCall(value, locations, weights, torch.tensor(counts), [n for shape in shapes for n in shape])


def gradient_like(call: MsDeformAttnCall, seed: int = 9) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    shape = call.locations.shape[0], call.value.shape[2] * call.value.shape[3]
    return torch.randn(shape, generator=rng).to(call.value.dtype)


def magnitudes(call: MsDeformAttnCall, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What results and gradients are made of: absolute terms added up, at most.

    Times float32's epsilon they are an error's size: a position is rounded to its map's size in epsilons, and every
    addition once.
    """
    value, weights, largest = call.value.abs().double(), call.weights.abs().double(), max(call.shapes)
    grads, position = grad.abs().double(), 4 * largest
    most, heaviest = value.max(), weights.max()
    out = (4 * weights[0].numel() + position) * most * weights.sum((2, 3)).max()
    by_value = (len(weights) * weights.shape[3] + position) * grads.sum(0).max() * heaviest
    by_weight = (value.shape[3] + 8 + position) * grads.sum(1).max() * most
    return out, by_value, by_weight * 2 * largest * heaviest, by_weight


def check(call: MsDeformAttnCall, backward: Backward, grad: Tensor | None = None) -> None:
    """Forward and gradients are those of the definition: off by float32's additions, and rounded once."""
    grad = gradient_like(call) if grad is None else grad
    wide = in_float64(MsDeformAttnCall(call.value.double(), *call[1:]))
    expected = [definition(wide), *gradients(definition, wide, FIELDS, grad.double())]
    found = [ms_deform_attn.forward(call), *backward(grad, call)]
    if grad.numel() == 0:
        assert not any(mine.any() for mine in found)
        return
    like = [call.value, call.value, call.locations, call.weights]
    for mine, right, size, source in zip(found, expected, magnitudes(call, grad), like, strict=True):
        assert mine.dtype == source.dtype and mine.shape == right.shape
        rounding = 0.0 if mine.dtype == torch.float32 else torch.finfo(mine.dtype).eps / 2
        tiny = torch.finfo(mine.dtype).smallest_normal * torch.finfo(mine.dtype).eps
        allowed = right.abs() * rounding + torch.finfo(torch.float32).eps * size + tiny
        assert ((mine.double() - right).abs() <= allowed).all()


@BACKWARDS
@settings(max_examples=12, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    heads=st.integers(1, 3),
    depth=st.integers(1, 9),
    points=st.integers(1, 9),
    reach=st.sampled_from([0.1, 0.5, 3.0, 1e30]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_equals_its_definition_for_any_shape(
    shapes: list[tuple[int, int]], counts: list[int], backward: Backward, **drawn: Any
) -> None:
    check(attention(shapes, counts, **drawn), backward)


@BACKWARDS
@pytest.mark.parametrize("dtype", DTYPES[:2])
def test_several_programs_with_more_rows_than_a_block(backward: Backward, dtype: torch.dtype) -> None:
    check(attention([(4, 6), (3, 2)], [70, 0, 65], heads=2, depth=8, points=4, dtype=dtype), backward)


@BACKWARDS
def test_more_points_than_a_tile_and_channels_that_are_no_power_of_two(backward: Backward) -> None:
    check(attention([(4, 6)], [9], points=19, depth=33), backward)


@BACKWARDS
@pytest.mark.parametrize("counts", [[0, 0, 0], []])
def test_nothing_to_sample(backward: Backward, counts: list[int]) -> None:
    call = attention([(2, 3)], counts)
    out = ms_deform_attn.forward(call)
    assert out.shape == (0, 8)
    by_value, *others = backward(out, call)
    assert torch.equal(by_value, torch.zeros_like(call.value))
    assert [t.shape for t in others] == [call.locations.shape, call.weights.shape]


@BACKWARDS
def test_points_exactly_on_cell_edges_and_borders_take_the_pixel_behind_as_the_reference_does(
    backward: Backward,
) -> None:
    steps = torch.arange(-2, 19) / 16  # halves of pixels of a map of 8, exactly
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    locations = torch.stack((x, y), -1).view(1, -1, 1, 1, 1, 2).expand(1, -1, 2, 1, 1, 2).flatten(0, 1)
    call = attention([(8, 8)], [len(locations)], points=1)._replace(locations=locations)
    grad = gradient_like(call)
    found = [ms_deform_attn.forward(call), *backward(grad, call)]
    expected = [reference.forward(in_float64(call)), *reference.backward(grad.double(), in_float64(call))]
    for mine, right in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.double(), right, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@BACKWARDS
@pytest.mark.parametrize("coordinate", [float("nan"), float("-inf"), 3e38])
def test_a_point_without_a_place_reads_zero_and_sends_no_gradient(backward: Backward, coordinate: float) -> None:
    call = attention([(3, 4)], [5])
    for axis in (0, 1):
        locations = call.locations.clone()
        locations[..., 1, axis] = coordinate
        lost = call._replace(locations=locations)
        rest = call._replace(locations=call.locations[..., :1, :], weights=call.weights[..., :1])
        torch.testing.assert_close(ms_deform_attn.forward(lost), ms_deform_attn.forward(rest))
        grad = gradient_like(call)
        by_value, by_locations, by_weights = backward(grad, lost)
        torch.testing.assert_close(by_value, backward(grad, rest)[0])
        assert not by_locations[..., 1, :].any() and not by_weights[..., 1].any()


@BACKWARDS
def test_views_that_are_not_contiguous(backward: Backward) -> None:
    call = attention([(4, 5), (2, 2)], [6, 3], heads=3, depth=5, points=3)
    loose = call._replace(
        value=call.value.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0),
        locations=call.locations.flip(0).flip(0).transpose(0, 3).contiguous().transpose(0, 3),
        weights=torch.stack((call.weights, call.weights), -1)[..., 0],
    )
    grad = gradient_like(call)
    assert torch.equal(ms_deform_attn.forward(loose), ms_deform_attn.forward(call))
    for one, other in zip(backward(grad.t().contiguous().t(), loose), backward(grad, call), strict=True):
        torch.testing.assert_close(one, other)


CROWDED = {"shapes": [(2, 3), (1, 2)], "counts": [80, 0, 60], "points": 3, "reach": 0.2}


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_bits_in_any_order_of_programs(dtype: torch.dtype, another_order: list[int]) -> None:
    call = attention(**CROWDED, dtype=dtype)  # type: ignore[arg-type]
    grad = gradient_like(call)
    first, launches = ms_deform_attn.backward(grad, call), another_order[0]
    for _ in range(2):
        for one, other in zip(ms_deform_attn.backward(grad, call), first, strict=True):
            assert torch.equal(one, other)
    assert another_order[0] == 3 * launches > 0


def test_bits_depend_on_the_order_where_float32_is_added_by_atomics(another_order: list[int]) -> None:
    """The test above could not fail if the orders did not differ."""
    call = attention(**CROWDED)  # type: ignore[arg-type]
    grad = gradient_like(call)
    found = [ms_deform_attn.backward_atomic(grad, call)[0] for _ in range(4)]
    assert any(not torch.equal(one, found[0]) for one in found[1:])


@pytest.mark.parametrize("exponent", [-40, 0, 30])
def test_whole_sums_are_as_exact_as_float32_over_a_wide_range(exponent: int) -> None:
    call = attention([(4, 6), (2, 3)], [60, 30], depth=8, points=4)
    rng = torch.Generator().manual_seed(3)
    spread = torch.exp2(torch.randint(-12, 1, (90, 1), generator=rng) + float(exponent))
    grad = gradient_like(call) * spread
    right = reference.backward(grad.double(), in_float64(call))[0]
    errors = [(f(grad, call)[0].double() - right).abs() for f in (ms_deform_attn.backward, reference.backward)]
    assert errors[0].mean() <= 1.1 * errors[1].mean()
    assert errors[0].max() <= 1.5 * errors[1].max()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # by the interpreter's numpy
@pytest.mark.parametrize(("bad", "dtype"), [*zip([float("nan"), float("inf"), float("-inf")], DTYPES, strict=True)])
@BACKWARDS
def test_a_gradient_that_is_not_finite_reaches_its_pixels_and_no_others(
    backward: Backward, dtype: torch.dtype, bad: float
) -> None:
    call = attention([(5, 6)], [6, 5], points=3, depth=4, dtype=dtype)
    grad = gradient_like(call)
    grad[7, 5] = bad  # head 1, channel 1, of image 1
    found = backward(grad, call)
    expected = reference.backward(grad, call)
    touched = reference.backward(torch.where(grad.isfinite(), 0.0, 1.0).to(dtype), call)[0] != 0
    assert touched.any() and not touched[0].any()
    assert torch.equal(found[0].isfinite(), ~touched)
    for mine, right in zip(found[1:], expected[1:], strict=True):
        assert torch.equal(mine.isfinite(), right.isfinite())
    still = backward(torch.where(grad.isfinite(), grad, 0.0), call)[0]
    assert torch.allclose(found[0][~touched].float(), still[~touched].float(), rtol=1e-2, atol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_products_beyond_float32_are_not_hidden() -> None:
    call = attention([(2, 2)], [3], reach=0.1)
    huge = call._replace(weights=torch.full_like(call.weights, 1e30))
    found = ms_deform_attn.backward(torch.full_like(gradient_like(call), 1e20), huge)[0]
    assert not found.isfinite().all()


@pytest.mark.parametrize("block", [8, 64])
def test_blocks_of_any_size_give_the_same_gradient_by_value(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    call = attention([(4, 5)], [13, 8], points=3)
    grad = gradient_like(call)
    expected = [ms_deform_attn.forward(call), ms_deform_attn.backward(grad, call)[0]]
    small = lambda name, where: {**launch_settings(name, where), "BLOCK": block}  # noqa: E731
    monkeypatch.setattr("portbev_triton.launch.settings", small)
    found = [ms_deform_attn.forward(call), ms_deform_attn.backward(grad, call)[0]]
    torch.testing.assert_close(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_float64_and_numbers_beyond_int32_are_left_to_the_reference() -> None:
    call = attention([(2, 2)], [1])
    assert ms_deform_attn.supports(call) is None
    assert "float64" in str(ms_deform_attn.supports(in_float64(call)))
    large = call._replace(value=torch.empty(1, 2**26, 8, 4, device="meta"))
    assert "int32" in str(ms_deform_attn.supports(large))


@pytest.mark.parametrize(("deterministic", "first"), [("off", "triton_atomic"), ("preferred", "triton")])
def test_the_form_with_atomics_is_asked_first_only_where_determinism_is_off(deterministic: Any, first: str) -> None:
    offered = [replace(kernel, probe=lambda: None) for kernel in ms_deform_attn.KERNELS]
    ranked = KERNELS.rank("cuda", offered, deterministic=deterministic)["ms_deform_attn"].kernels
    assert ranked[0].provider == first
