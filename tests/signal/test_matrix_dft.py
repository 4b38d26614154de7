"""The transform as products of real matrices against NumPy's, and through the operator on the emulated npu."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev_npu.kernels.dft import LARGEST_RADIX, matrix_dft, radices, unsupported_length

NORMS = ["backward", "ortho", "forward"]


def draw_values(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=0, max_size=2),
    st.one_of(st.integers(1, 130), st.sampled_from([243, 256, 360, 512, 625, 1000, 1009])),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from(NORMS),
    st.sampled_from([torch.float64, torch.complex128]),
)
def test_equals_numpys_transform(
    rest: list[int], length: int, seed: int, inverse: bool, norm: str, dtype: torch.dtype
) -> None:
    x = draw_values((*rest, length), dtype, seed)
    found = matrix_dft(x, inverse, norm)
    expected = (np.fft.ifft if inverse else np.fft.fft)(x.numpy(), norm=norm)
    assert found.is_contiguous() and found.dtype == torch.complex128
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-13 * max(np.abs(expected).max(), 1e-300), rtol=0)


@pytest.mark.parametrize("length", [16, 256, 512, 1009, 1024])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_single_precision_is_within_its_rounding(length: int, dtype: torch.dtype) -> None:
    x = draw_values((8, length), dtype)
    exact = torch.fft.fft(x.to(torch.complex128))
    found = matrix_dft(x, False, "backward")
    assert found.dtype == torch.complex64
    # Every stage of radix r adds 2*r rounded products: their errors add up like a random walk, at worst like a sum.
    error = (found - exact).abs().square().mean().sqrt() / exact.abs().square().mean().sqrt()
    assert error < 2**-24 * sum(math.sqrt(2 * radix) for radix in radices(length))


def test_strides_do_not_matter() -> None:
    x = draw_values((6, 4, 20), torch.complex128)
    for view in (x.transpose(0, 2), x[:, ::2], x.conj(), x[1:, :, 3:]):
        torch.testing.assert_close(matrix_dft(view, False, "ortho"), torch.fft.fft(view, norm="ortho"))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 100_000))
def test_radices_multiply_to_the_length_and_only_primes_are_large(length: int) -> None:
    found = radices(length)
    assert math.prod(found) == length and found == sorted(found, reverse=True)
    for radix in found:
        assert radix <= 32 or all(radix % divisor for divisor in range(2, math.isqrt(radix) + 1))


def test_radars_lengths_take_two_products() -> None:
    assert radices(512) == [32, 16] and radices(256) == [16, 16]


def test_a_prime_too_large_for_a_matrix_is_named() -> None:
    assert unsupported_length(2 * 10007) == f"length 20014 has the prime factor 10007, above {LARGEST_RADIX}"
    assert unsupported_length(2**20 * 4093) is None and unsupported_length(1) is None


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_its_own_adjoint_is_the_turned_transform(inverse: bool, norm: str) -> None:
    x, y = draw_values((12,), torch.complex128, 1), draw_values((12,), torch.complex128, 2)
    turned = {"backward": "forward", "ortho": "ortho", "forward": "backward"}[norm]
    left = torch.vdot(y, matrix_dft(x, inverse, norm))
    torch.testing.assert_close(left, torch.vdot(matrix_dft(y, not inverse, turned), x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_gradients_through_the_products_equal_finite_differences(dtype: torch.dtype) -> None:
    x = draw_values((2, 6), dtype).requires_grad_()
    torch.autograd.gradcheck(lambda v: torch.view_as_real(matrix_dft(v, False, "ortho")), [x])
