"""Linear layers by oneDNN: equal to torch's up to rounding, taken only where they are asked for and suit."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from portbev_cpu import linear_products
from portbev_cpu.linear_products import OneDnnLinear, available, product, use_onednn_products, use_torch_products

pytestmark = pytest.mark.skipif(not available(), reason="this torch has no oneDNN")


@pytest.fixture(autouse=True, scope="module")
def every_size() -> Iterator[None]:
    before, linear_products.LARGE = linear_products.LARGE, 0
    yield
    linear_products.LARGE = before


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def pair(channels_in: int, channels_out: int, *, bias: bool = True) -> tuple[nn.Linear, OneDnnLinear]:
    """A plain layer and the same one by oneDNN."""
    torch.manual_seed(0)
    plain = nn.Linear(channels_in, channels_out, bias=bias)
    other = copy.deepcopy(plain)
    assert use_onednn_products(other)
    assert isinstance(other, OneDnnLinear)
    return plain, other


def values_and_gradients(layer: nn.Module, x: Tensor) -> list[Tensor]:
    leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(leaf)
    return [y, *torch.autograd.grad((y * noise(*y.shape)).sum(), [leaf, *layer.parameters()])]


@settings(deadline=None, max_examples=50)
@given(
    leading=st.lists(st.integers(1, 4), min_size=0, max_size=3),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    bias=st.booleans(),
)
def test_values_and_gradients_are_torchs(leading: list[int], channels: tuple[int, int], bias: bool) -> None:
    plain, other = pair(*channels, bias=bias)
    x = noise(*leading, channels[0])
    for one, two in zip(values_and_gradients(plain, x), values_and_gradients(other, x), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_strides_of_input_and_gradient_do_not_matter() -> None:
    plain, other = pair(7, 5)
    x = noise(7, 3, 9).permute(1, 2, 0)
    for one, two in zip(values_and_gradients(plain, x), values_and_gradients(other, x), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)
    leaf = x.clone().requires_grad_()
    other(leaf).sum().backward()  # the gradient is one number, expanded
    torch.testing.assert_close(leaf.grad, other.weight.sum(0).expand_as(leaf), rtol=1e-5, atol=1e-5)


def test_an_empty_input_gives_an_empty_result() -> None:
    _, other = pair(7, 5)
    assert other(torch.empty(0, 7)).shape == (0, 5)


def test_two_runs_have_equal_bits() -> None:
    _, other = pair(256, 192)
    x = noise(900, 256)
    for one, two in zip(values_and_gradients(other, x), values_and_gradients(other, x), strict=True):
        assert torch.equal(one, two)


def test_frozen_parameters_get_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    _, other = pair(7, 5)
    other.requires_grad_(False)
    products = []
    monkeypatch.setattr(linear_products, "product", lambda *x: products.append(1) or product(*x))
    leaf = noise(3, 7).requires_grad_()
    other(leaf).sum().backward()
    assert len(products) == 2 and other.weight.grad is None


@pytest.mark.parametrize("case", ["small", "float64", "autocast", "meta"])
def test_torchs_way_is_taken_where_it_does_not_suit(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> Tensor:
        raise AssertionError("oneDNN was called")

    _, other = pair(7, 5)
    x = noise(3, 7)
    if case == "small":
        monkeypatch.setattr(linear_products, "LARGE", 3 * 7 * 5 + 1)
    elif case == "float64":
        x, other = x.double(), other.double()
    elif case == "meta":
        x, other = x.to("meta"), other.to("meta")
    monkeypatch.setattr(linear_products, "product", fail)
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        assert other(x).shape == (3, 5)


def test_a_compiled_layer_is_one_graph() -> None:
    plain, other = pair(7, 5)
    x = noise(3, 7)
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), plain(x))


def test_only_plain_layers_are_changed_and_back() -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(2, 2), Own(2, 2), nn.Conv2d(2, 2, 1))
    keys, before = list(model.state_dict()), [type(m) for m in model]
    for _ in range(2):
        assert use_onednn_products(model)
        assert [type(m) for m in model] == [OneDnnLinear, Own, nn.Conv2d]
        assert list(model.state_dict()) == keys
    use_torch_products(model)
    assert [type(m) for m in model] == before
    assert not use_onednn_products(nn.Conv2d(2, 2, 1))
