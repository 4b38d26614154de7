"""Other ways to a convolution's weight gradient: equal to torch's, taken only where they pay."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from portbev_cpu import conv_gradients
from portbev_cpu.conv_gradients import (
    Avx2Conv2d,
    use_avx2_weight_gradients,
    use_torch_weight_gradients,
    weight_gradient_by_products,
)

LAST = torch.channels_last


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv_gradients, "LARGE", 0)


def noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=dtype)
    return x.contiguous(memory_format=LAST)


def gradients(conv: nn.Module, x: Tensor) -> list[Tensor]:
    """Of a weighted sum of the output, by the input and the parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = conv(x)
    return list(torch.autograd.grad((y * noise(*y.shape, dtype=y.dtype)).sum(), [x, *conv.parameters()]))


def pair(*args: int, **options: object) -> tuple[nn.Conv2d, Avx2Conv2d]:
    """A plain convolution and the same one the other way."""
    torch.manual_seed(0)
    plain = nn.Conv2d(*args, **options).double()  # type: ignore[arg-type]
    other = copy.deepcopy(plain)
    use_avx2_weight_gradients(other)
    assert isinstance(other, Avx2Conv2d)
    return plain, other


@settings(deadline=None)
@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_matrix_products_give_the_weight_gradient(
    batch: int,
    channels: tuple[int, int],
    size: tuple[int, int],
    kernel: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> None:
    span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    height, width = (max(s, n - 2 * p) for s, n, p in zip(size, span, padding, strict=True))
    x, weight = noise(batch, channels[0], height, width), noise(channels[1], channels[0], *kernel).requires_grad_()
    y = functional.conv2d(x, weight, None, 1, padding, dilation)
    grad = noise(*y.shape)
    (expected,) = torch.autograd.grad(y, weight, grad)
    found = weight_gradient_by_products(grad, x, kernel, padding, dilation)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding", "dilation"),
    [(256, 3, 1, 1, 1), (256, 3, 1, 2, 2), (256, 3, 2, 1, 1), (3, 3, 1, 1, 1), (4, 4, 4, 0, 1), (5, (1, 3), 1, 1, 2)],
)
def test_all_gradients_are_torchs(
    channels: int, kernel: int | tuple[int, int], stride: int, padding: int, dilation: int, bias: bool
) -> None:
    plain, other = pair(channels, 6, kernel, stride=stride, padding=padding, dilation=dilation, bias=bias)  # type: ignore[arg-type]
    x = noise(2, channels, 8, 12)
    torch.testing.assert_close(other(x), plain(x), rtol=0, atol=0)
    assert "Convolution" in type(other(x).grad_fn).__name__ and type(other(x).grad_fn) is not type(plain(x).grad_fn)
    for ours, torchs in zip(gradients(other, x), gradients(plain, x), strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-12, atol=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    _, conv = pair(3, 2, 3, padding=1)
    x = noise(2, 3, 4, 5).requires_grad_()
    torch.autograd.gradcheck(
        lambda x, w, b: torch.func.functional_call(conv, {"weight": w, "bias": b}, x), (x, conv.weight, conv.bias)
    )


def test_an_input_without_gradient_gets_none() -> None:
    plain, other = pair(3, 2, 3)
    x = noise(1, 3, 4, 5)
    for conv in (plain, other):
        conv(x).sum().backward()
    assert x.grad is None
    assert other.weight.grad is not None
    torch.testing.assert_close(other.weight.grad, plain.weight.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", ["contiguous", "small", "frozen", "no gradients", "groups", "autocast", "same"])
def test_everywhere_else_it_is_torchs_own_way(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"groups": {"groups": 2}, "same": {"padding": "same"}}.get(case, {})
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 4, 3, **options)  # type: ignore[arg-type]
    use_avx2_weight_gradients(conv)
    x = noise(1, 4, 8, 8, dtype=torch.float32).requires_grad_()
    if case == "contiguous":
        x = x.detach().contiguous().requires_grad_()
    elif case == "small":
        monkeypatch.setattr(conv_gradients, "LARGE", conv.weight.numel() * 64 + 1)
    elif case == "frozen":
        conv.requires_grad_(False)

    def fail(*_: object) -> None:
        raise AssertionError("not torch's way")

    monkeypatch.setattr(conv_gradients._Convolution, "apply", fail)
    with (
        torch.set_grad_enabled(case != "no gradients"),
        torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"),
    ):
        assert conv(x).shape[:2] == (1, 4)


def test_only_plain_convolutions_with_several_taps_are_changed() -> None:
    class Own(nn.Conv2d):
        pass

    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3), Own(2, 2, 3), nn.ConvTranspose2d(2, 2, 3))
    keys, before = list(model.state_dict()), [type(m) for m in model]
    for _ in range(2):
        assert use_avx2_weight_gradients(model)
        assert [type(m) for m in model] == [nn.Conv2d, Avx2Conv2d, Own, nn.ConvTranspose2d]
        assert list(model.state_dict()) == keys
    use_torch_weight_gradients(model)
    assert [type(m) for m in model] == before


def test_a_model_without_such_a_convolution_is_told_apart() -> None:
    assert not use_avx2_weight_gradients(nn.Sequential(nn.Conv2d(2, 2, 1), nn.Linear(2, 2)))
