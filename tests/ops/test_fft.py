"""The Fourier transform against its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.ops import fft
from portbev.ops.fft import FFT, FftCall

NORMS = ["backward", "ortho", "forward"]


def signal(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.data(),
    st.booleans(),
    st.sampled_from(NORMS),
    st.sampled_from([torch.float64, torch.complex128]),
)
def test_equals_its_definition(
    shape: list[int], data: st.DataObject, inverse: bool, norm: str, dtype: torch.dtype
) -> None:
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = signal(*shape, dtype=dtype)
    out = fft(x, dim=dim, inverse=inverse, norm=norm)
    defined = FFT.definition(FftCall(x.movedim(dim, -1), inverse, norm))
    torch.testing.assert_close(out, defined.movedim(-1, dim))


@pytest.mark.parametrize("norm", NORMS)
def test_the_inverse_undoes_the_transform(norm: str) -> None:
    x = signal(3, 8)
    torch.testing.assert_close(fft(fft(x, dim=0, norm=norm), dim=0, inverse=True, norm=norm), x)


def test_single_precision_stays_single_and_within_its_rounding() -> None:
    x = signal(4, 256, dtype=torch.complex64)
    out = fft(x)
    assert out.dtype == torch.complex64 and fft(x.real).dtype == torch.complex64
    exact = FFT.definition(FftCall(x.to(torch.complex128), False, "backward"))
    # log2(256) = 8 stages, each rounds to 2**-24 of the values, whose size is 16.
    assert (out - exact).abs().max() < 8 * 2**-24 * exact.abs().max()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_equal_finite_differences(norm: str, inverse: bool, dtype: torch.dtype) -> None:
    x = signal(2, 5, dtype=dtype).requires_grad_()
    torch.autograd.gradcheck(lambda v: fft(v, dim=1, inverse=inverse, norm=norm), [x])
    torch.autograd.gradgradcheck(lambda v: fft(v, dim=0, inverse=inverse, norm=norm), [x])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("input", {"input": torch.ones(3, dtype=torch.float16)}),
        ("input", {"input": torch.ones(3, dtype=torch.int64)}),
        ("dim", {"dim": 1}),
        ("dim", {"dim": -2}),
        ("dim", {"input": torch.ones(0)}),
        ("norm", {"norm": "none"}),
    ],
)
def test_bad_arguments_are_named(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^fft: {name}"):
        fft(**{"input": torch.ones(3), **change})
