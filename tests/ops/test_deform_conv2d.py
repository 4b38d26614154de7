"""Deformable convolution against its definition, plain convolution and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from portbev.ops import deform_conv2d
from portbev.ops.deform_conv2d import DEFORM_CONV2D, DeformConv2dCall
from portbev.ops.reference import deform_conv2d as reference


def case(
    *,
    seed: int = 0,
    n: int = 1,
    per_group: int = 1,
    out_per_group: int = 1,
    groups: int = 1,
    deform_groups: int = 1,
    kernel: tuple[int, int] = (3, 3),
    size: tuple[int, int] = (4, 5),
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    mask: bool = True,
    bias: bool = True,
    reach: float = 2.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[list[Tensor | None], dict[str, Any]]:
    """Tensors (input, offset, weight, bias, mask) and the remaining arguments; channels divide into both groups."""
    rng = torch.Generator().manual_seed(seed)
    channels = per_group * groups * deform_groups
    taps = deform_groups * kernel[0] * kernel[1]
    out = [
        (s + 2 * p - d * (k - 1) - 1) // t + 1
        for s, p, d, k, t in zip(size, padding, dilation, kernel, stride, strict=True)
    ]

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype)

    tensors = [
        normal(n, channels, *size),
        normal(n, 2 * taps, *out) * reach,
        normal(out_per_group * groups, channels // groups, *kernel),
        normal(out_per_group * groups) if bias else None,
        normal(n, taps, *out).sigmoid() if mask else None,
    ]
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return tensors, {**options, "groups": groups, "deform_groups": deform_groups}


def expected(tensors: list[Tensor | None], options: dict[str, Any]) -> Tensor:
    input, offset, weight, bias, mask = (None if t is None else t.double() for t in tensors)
    defined: Tensor = DEFORM_CONV2D.definition(
        DeformConv2dCall(input, offset, weight, mask, bias, **options)  # type: ignore[arg-type]
    )
    return defined


pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n=st.integers(1, 2),
    per_group=st.integers(1, 2),
    out_per_group=st.integers(1, 2),
    groups=st.integers(1, 2),
    deform_groups=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(5, 6), st.integers(5, 6)),  # a dilated kernel of three covers five
    stride=pairs,
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=pairs,
    mask=st.booleans(),
    bias=st.booleans(),
    reach=st.sampled_from([0.3, 2.0, 1e3, 1e30]),
)
def test_equals_its_definition_for_any_shape(**drawn: Any) -> None:
    tensors, options = case(**drawn)
    torch.testing.assert_close(deform_conv2d(*tensors, **options), expected(tensors, options))  # type: ignore[arg-type]


@pytest.mark.parametrize("groups", [1, 2])
def test_without_offsets_it_is_convolution(groups: int) -> None:
    (x, offset, weight, bias, _), options = case(
        groups=groups, per_group=2, out_per_group=3, n=2, stride=(2, 1), padding=(0, 2), size=(7, 6), mask=False
    )
    assert x is not None and offset is not None and weight is not None
    plain = functional.conv2d(x, weight, bias, stride=(2, 1), padding=(0, 2), groups=groups)
    torch.testing.assert_close(deform_conv2d(x, torch.zeros_like(offset), weight, bias, **options), plain)


SAMPLES = {
    "on a pixel": (1.0, 2.0, lambda image: image[1, 2]),
    "between four pixels": (0.5, 1.5, lambda image: image[0:2, 1:3].mean()),
    "on the last pixel": (3.0, 4.0, lambda image: image[3, 4]),
    "half a pixel above the image": (-0.5, 1.0, lambda image: image[0, 1] / 2),
    "half a pixel below the image": (3.5, 1.0, lambda image: image[3, 1] / 2),
    "half a pixel off a corner": (3.5, 4.5, lambda image: image[3, 4] / 4),
    "a pixel to the left": (0.0, -1.0, lambda image: image[0, 0] * 0),
    "a pixel to the right": (0.0, 5.0, lambda image: image[0, 0] * 0),
    "far away": (-1e20, 1e20, lambda image: image[0, 0] * 0),
    "infinitely far": (float("inf"), -float("inf"), lambda image: image[0, 0] * 0),
    "nowhere (NaN)": (float("nan"), 0.0, lambda image: image[0, 0] * 0),
}


@pytest.mark.parametrize("where", SAMPLES)
def test_a_tap_reads_the_image_at_its_point(where: str) -> None:
    y, x, value = SAMPLES[where]
    image = torch.arange(1.0, 21.0, dtype=torch.float64).reshape(4, 5)
    offset = torch.zeros(1, 2, 4, 5, dtype=torch.float64)
    offset[0, 0, 0, 0], offset[0, 1, 0, 0] = y, x  # the tap of output (0, 0) stands at (0, 0)
    out = deform_conv2d(image[None, None], offset, torch.ones(1, 1, 1, 1, dtype=torch.float64))
    torch.testing.assert_close(out[0, 0, 0, 0], value(image))
    torch.testing.assert_close(out[0, 0].flatten()[1:], image.flatten()[1:])


def test_the_first_offset_channel_moves_down_and_the_second_right() -> None:
    image = torch.arange(20.0).reshape(1, 1, 4, 5)
    offset = torch.zeros(1, 2, 4, 5)
    offset[:, 0] = 1
    assert deform_conv2d(image, offset, torch.ones(1, 1, 1, 1))[0, 0, 0, 0] == image[0, 0, 1, 0]


def test_offsets_of_a_deform_group_move_its_own_channels() -> None:
    image = torch.rand(1, 4, 4, 5)
    offset = torch.zeros(1, 4, 4, 5)
    offset[:, 3] = 1  # dx of the second group
    out = deform_conv2d(image, offset, torch.eye(4)[..., None, None], deform_groups=2)
    torch.testing.assert_close(out[:, :2], image[:, :2])
    torch.testing.assert_close(out[:, 2:, :, :-1], image[:, 2:, :, 1:])


def off_the_lattice(offset: Tensor) -> Tensor:
    """Bilinear sampling has kinks on whole pixels: finite differences must not cross them."""
    whole = offset.floor()
    return whole + 0.2 + 0.6 * (offset - whole)


@pytest.mark.parametrize(
    "shape",
    [
        {"mask": False, "bias": False},
        {"deform_groups": 2, "groups": 2, "size": (3, 4)},
        {"n": 2, "stride": (2, 1), "padding": (2, 0), "dilation": (1, 2), "kernel": (2, 2), "per_group": 2},
        {"reach": 6.0, "kernel": (1, 1), "padding": (0, 0)},
    ],
)
def test_gradients_equal_finite_differences(shape: dict[str, Any]) -> None:
    (x, offset, weight, bias, mask), options = case(**shape)
    assert offset is not None
    tensors = [None if t is None else t.requires_grad_() for t in (x, off_the_lattice(offset), weight, bias, mask)]
    torch.autograd.gradcheck(lambda *t: deform_conv2d(*t, **options), tensors)


def test_gradients_are_those_of_autograd_through_grid_sample() -> None:
    """A peer that shares no code: one tap is grid_sample at the same pixels."""
    (x, offset, _, _, _), _ = case(per_group=2, kernel=(1, 1), padding=(0, 0), mask=False, reach=1.0)
    assert x is not None and offset is not None
    weight = torch.eye(2, dtype=torch.float64)[..., None, None]
    seen = torch.randn(1, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = [x.clone().requires_grad_(), offset.clone().requires_grad_()]
    (deform_conv2d(*ours, weight) * seen).sum().backward()
    theirs = [x.clone().requires_grad_(), offset.clone().requires_grad_()]
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    y, across = rows + theirs[1][:, 0], columns + theirs[1][:, 1]
    grid = torch.stack((2 * across / 4 - 1, 2 * y / 3 - 1), -1)
    (functional.grid_sample(theirs[0], grid, align_corners=True) * seen).sum().backward()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_no_images_give_no_output() -> None:
    tensors, options = case(n=0)
    out = deform_conv2d(*[t if t is None else t.requires_grad_() for t in tensors], **options)  # type: ignore[arg-type]
    out.sum().backward()
    assert out.shape == (0, 1, 4, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once_at_the_end(dtype: torch.dtype) -> None:
    """Sums of 36 * 9 products: rounding each, or each sampled value, to bfloat16 would miss the bound many times."""
    tensors, options = case(per_group=36, out_per_group=2, dtype=dtype, reach=1.0)
    out = deform_conv2d(*tensors, **options)  # type: ignore[arg-type]
    assert out.dtype == dtype
    exact = expected(tensors, options)
    bound = torch.finfo(dtype).eps / 2 * exact.abs() + 1e-4
    assert ((out.double() - exact).abs() <= bound).all()


def test_blocks_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors, options = case(n=2, per_group=2, groups=2, deform_groups=2, size=(6, 7))
    tensors = [None if t is None else t.requires_grad_() for t in tensors]

    def run() -> list[Tensor]:
        out = deform_conv2d(*tensors, **options)  # type: ignore[arg-type]
        return [out, *torch.autograd.grad(out.square().sum(), [t for t in tensors if t is not None])]

    whole = run()
    # A few positions at a time, the last block short.
    monkeypatch.setattr(reference, "BLOCK_BYTES", 2000)
    for one, other in zip(whole, run(), strict=True):
        torch.testing.assert_close(one, other)


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "three dimensions": ("input", {"input": torch.rand(2, 4, 4)}),
    "integers": ("input", {"input": torch.ones(1, 2, 4, 4, dtype=torch.int64)}),
    "channels": ("weight", {"weight": torch.rand(1, 3, 3, 3)}),
    "kernel larger than the image": ("weight", {"weight": torch.rand(1, 2, 9, 9)}),
    "offset channels": ("offset", {"offset": torch.zeros(1, 17, 4, 4)}),
    "offset size": ("offset", {"offset": torch.zeros(1, 18, 4, 3)}),
    "mask channels": ("mask", {"mask": torch.zeros(1, 18, 4, 4)}),
    "mask dimensions": ("mask", {"mask": torch.zeros(9, 4, 4)}),
    "bias length": ("bias", {"bias": torch.zeros(2)}),
    "stride": ("stride", {"stride": 0}),
    "padding": ("padding", {"padding": -1}),
    "dilation": ("dilation", {"dilation": (1, 1, 1)}),
    "groups": ("groups", {"groups": 0}),
    "deform_groups": ("deform_groups", {"deform_groups": 0}),
    "deform_groups that do not divide": ("deform_groups", {"deform_groups": 3}),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_named(what: str) -> None:
    name, change = BAD[what]
    good = {"input": torch.rand(1, 2, 4, 4), "offset": torch.zeros(1, 18, 4, 4), "weight": torch.rand(1, 2, 3, 3)}
    with pytest.raises(ValueError, match=f"^deform_conv2d: .*{name}"):
        deform_conv2d(**{**good, "padding": 1, **change})
