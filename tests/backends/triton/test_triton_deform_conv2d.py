"""Deformable convolution in Triton, by the interpreter, against its definition in float64."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.kernels import KERNELS
from portbev.ops.deform_conv2d import DEFORM_CONV2D, DeformConv2dCall
from portbev.ops.reference import deform_conv2d as reference
from portbev_triton import deform_conv2d as ours
from portbev_triton.launch import product_precision

HALVES = (torch.float16, torch.bfloat16)
FLOATS = (torch.float32, *HALVES)
SUMS = {torch.float32: 2e-6, torch.float16: 2e-6, torch.bfloat16: 2**-16}
"""Of the largest value of a result: what float32 sums may be off by, and with bfloat16 samples of 16 bits."""
NAMES = ("input", "offset", "weight", "mask")


def case(
    *,
    seed: int = 0,
    n: int = 1,
    channels: int = 3,
    out: int = 5,
    groups: int = 1,
    deform_groups: int = 1,
    kernel: tuple[int, int] = (3, 3),
    size: tuple[int, int] = (5, 6),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    mask: bool = True,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
) -> DeformConv2dCall:
    """Offsets are odd multiples of 1/16: the sums of coordinates are exact in every dtype and never whole."""
    rng = torch.Generator().manual_seed(seed)
    taps, pairs = deform_groups * kernel[0] * kernel[1], (stride, padding, dilation)
    Ho, Wo = (
        (s + 2 * p - d * (k - 1) - 1) // t + 1
        for s, k, t, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng).to(dtype)

    offset = (torch.randint(-16, 16, (n, 2 * taps, Ho, Wo), generator=rng) * 2 + 1) / 16
    return DeformConv2dCall(
        normal(n, channels * groups * deform_groups, *size),
        offset.to(dtype),
        normal(out * groups, channels * deform_groups, *kernel),
        normal(n, taps, Ho, Wo).sigmoid() if mask else None,
        normal(out * groups) if bias else None,
        *map(list, pairs),
        groups,
        deform_groups,
    )


def doubled(call: DeformConv2dCall) -> DeformConv2dCall:
    return DeformConv2dCall(*(t.double() if isinstance(t, Tensor) else t for t in call))


def exact(call: DeformConv2dCall, grad_out: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The definition's result and gradients in float64."""
    leaves = {name: t.double().requires_grad_() for name in NAMES if (t := getattr(call, name)) is not None}
    out = DEFORM_CONV2D.definition(doubled(call)._replace(**leaves))
    return out.detach(), dict(zip(leaves, torch.autograd.grad(out, leaves.values(), grad_out.double()), strict=True))


def close(found: Tensor, expected: Tensor, what: str) -> None:
    """One rounding to the dtype, and the error of the sums before it."""
    rounding = torch.finfo(found.dtype).eps / 2 if found.dtype in HALVES else 0.0
    bound = rounding * expected.abs() + SUMS[found.dtype] * expected.abs().max() if expected.numel() else expected
    off = (found.double() - expected).abs()
    assert found.shape == expected.shape and found.is_contiguous()
    assert (off <= bound).all(), f"{what}: off by {off.max()} of {expected.abs().max()}"


def check(call: DeformConv2dCall, *, seed: int = 0) -> None:
    """Forward and both backwards against the definition."""
    out = ours.forward(call)
    grad_out = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)).to(out.dtype)
    expected, gradients = exact(call, grad_out)
    close(out, expected, "forward")
    for deterministic in (True, False):
        found = ours.backward(grad_out, call._replace(bias=None), deterministic=deterministic)
        for name, gradient in zip(NAMES, found, strict=True):
            if name in gradients:
                close(gradient, gradients[name], f"{name}, deterministic={deterministic}")
            else:
                assert gradient.shape == (0,)


pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(1, 2),
    channels=st.integers(1, 3),
    out=st.integers(1, 5),
    groups=st.integers(1, 2),
    deform_groups=st.integers(1, 2),
    kernel=st.sampled_from([(1, 1), (3, 1), (2, 2)]),
    stride=pairs,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=pairs,
    mask=st.booleans(),
    bias=st.booleans(),
    dtype=st.sampled_from(FLOATS),
)
def test_equals_its_definition_for_any_shape(**drawn: Any) -> None:
    check(case(**drawn))


@pytest.mark.parametrize("dtype", FLOATS)
def test_sizes_that_no_block_divides(dtype: torch.dtype) -> None:
    """More positions, channels and output channels than a block has, and more blocks of positions than a stretch."""
    check(case(channels=19, out=21, kernel=(1, 2), padding=(0, 0), size=(7, 11), dtype=dtype))


def test_a_kernel_of_five() -> None:
    check(case(kernel=(5, 5), padding=(1, 1), size=(3, 4)))


def test_one_position() -> None:
    check(case(size=(3, 2), kernel=(3, 2), padding=(0, 0), channels=2))


def test_no_images() -> None:
    call = case(n=0)
    out = ours.forward(call)
    assert out.shape == (0, 5, 5, 6)
    for deterministic in (True, False):
        found = ours.backward(out, call._replace(bias=None), deterministic=deterministic)
        for name, gradient in zip(NAMES, found, strict=True):
            assert gradient.shape == getattr(call, name).shape and gradient.count_nonzero() == 0


def test_points_on_pixels_on_edges_far_outside_and_nowhere() -> None:
    """A slope on a whole pixel is that to its right, as in the reference."""
    call = case(n=2, kernel=(2, 2), mask=True)
    places = [0.0, 1.0, -1.0, -2.0, 5.0, 6.0, 0.5, 1e30, -1e30, float("inf"), -float("inf"), float("nan")]
    draw = torch.randint(len(places), call.offset.shape, generator=torch.Generator().manual_seed(5))
    call = call._replace(offset=torch.tensor(places)[draw])
    grad_out = torch.randn(ours.forward(call).shape)
    close(ours.forward(call), reference.forward(doubled(call)), "forward")
    call = call._replace(bias=None)
    expected = reference.backward(grad_out.double(), doubled(call))
    for deterministic in (True, False):
        for name, *both in zip(
            NAMES, ours.backward(grad_out, call, deterministic=deterministic), expected, strict=True
        ):
            close(*both, name)


def test_views_of_any_strides() -> None:
    call = case(n=2, channels=4, kernel=(1, 2), padding=(0, 0), size=(6, 7))

    def strided(tensor: Tensor | None) -> Tensor | None:
        return tensor if tensor is None else tensor.transpose(0, -1).contiguous().transpose(0, -1)

    views = call._replace(
        input=call.input.contiguous(memory_format=torch.channels_last),
        **{name: strided(getattr(call, name)) for name in ("offset", "weight", "mask")},
    )
    assert torch.equal(ours.forward(views), ours.forward(call))
    grad_out = torch.randn(2, 5, 1, 1).expand(2, 5, 6, 6)
    found = ours.backward(grad_out, views._replace(bias=None), deterministic=True)
    for mine, other in zip(
        found, ours.backward(grad_out.contiguous(), call._replace(bias=None), deterministic=True), strict=True
    ):
        assert torch.equal(mine, other) and mine.is_contiguous()


def test_the_order_of_programs_changes_no_bit(request: pytest.FixtureRequest) -> None:
    call = case(n=2, size=(7, 11), kernel=(1, 2), padding=(0, 0), bias=False)
    grad_out = torch.randn(ours.forward(call).shape)

    def run(*, deterministic: bool) -> tuple[Tensor, ...]:
        return (ours.forward(call), *ours.backward(grad_out, call, deterministic=deterministic))

    first, first_atomic = run(deterministic=True), run(deterministic=False)
    launches = request.getfixturevalue("another_order")
    again, again_atomic = run(deterministic=True), run(deterministic=False)
    assert launches[0] > 0
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    assert not torch.equal(again_atomic[1], first_atomic[1]), "sums of floats kept their bits: the order was the same"


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_gradient_that_is_not_finite_reaches_the_pixels_it_meets_and_no_others() -> None:
    call = case(kernel=(1, 1), padding=(0, 0), bias=False)
    grad_out = torch.randn(ours.forward(call).shape)
    for value in (float("nan"), float("inf")):
        grad_out[0, 2, 3, 4] = value
        call.offset[0, :, 3, 4] = -0.5
        without = grad_out.clone()
        without[0, :, 3, 4] = 0
        clean = ours.backward(without, call, deterministic=True)[0]
        found = ours.backward(grad_out, call, deterministic=True)[0]
        met = torch.zeros_like(found, dtype=torch.bool)
        met[0, :, 2:4, 3:5] = True
        assert torch.equal(~found.isfinite(), met)
        assert torch.equal(found[~met], clean[~met])


def test_small_gradients_beside_huge_ones_keep_their_bits() -> None:
    """A bound taken from the largest gradient would leave a coarser grid few bits of the others."""
    call = case(kernel=(1, 1), padding=(0, 0), mask=False, bias=False, size=(8, 8))
    call = call._replace(offset=torch.full_like(call.offset, 0.25))
    grad_out = torch.randn(ours.forward(call).shape)
    grad_out[..., :4, :] *= 1e5
    found = ours.backward(grad_out, call, deterministic=True)[0].double()
    expected = reference.backward(grad_out.double(), doubled(call))[0]
    small = (slice(None), slice(None), slice(5, 8))  # rows that the huge ones do not reach
    assert ((found - expected)[small].abs() <= 1e-6 * expected[small].abs().mean()).all()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_gradients_of_any_size(scale: float) -> None:
    call = case(kernel=(1, 1), padding=(0, 0), bias=False)
    grad_out = torch.randn(ours.forward(call).shape) * scale
    expected = reference.backward(grad_out.double(), doubled(call))[0]
    close(ours.backward(grad_out, call, deterministic=True)[0], expected, "input")


def test_what_is_left_to_others() -> None:
    call = case()
    assert ours.supports(call) is None
    assert "float64" in str(ours.supports(doubled(call)))
    assert "no channels" in str(ours.supports(call._replace(weight=call.weight[:0])))
    huge = call.input.new_empty(1).expand(1, 3, 2**15, 2**15)
    assert "2**31" in str(ours.supports(call._replace(input=huge)))


def test_the_deterministic_kernel_is_asked_first_unless_determinism_is_off() -> None:
    offered = [dataclasses.replace(kernel, probe=lambda: None) for kernel in ours.KERNELS]

    def first(deterministic: Any) -> str:
        ranked = KERNELS.rank("rocm", offered, deterministic=deterministic)
        return ranked["deform_conv2d"].kernels[0].provider

    assert [first(how) for how in ("required", "preferred", "off")] == ["triton", "triton", "triton_atomic"]


def test_tf32_is_used_where_torch_uses_it_and_nvidia_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    device, before = torch.device("cuda"), torch.get_float32_matmul_precision()
    for where, asked, expected in (("sm_90", "high", "tf32"), ("sm_90", "highest", "ieee"), ("gfx942", "high", "ieee")):
        monkeypatch.setattr("portbev_triton.launch.architecture", lambda device, where=where: where)
        torch.set_float32_matmul_precision(asked)
        try:
            assert product_precision(device) == expected
        finally:
            torch.set_float32_matmul_precision(before)
