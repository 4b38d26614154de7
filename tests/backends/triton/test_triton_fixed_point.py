"""Sums as whole numbers: a scale that no sum passes int64 with and that leaves every term the bits of float32."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from portbev_triton.fixed_point import BITS, fixed_point, largest, power_of_two


@given(bound=st.floats(0.0, 2.0**127, width=32), count=st.integers(0, 2**31))
def test_no_sum_of_terms_up_to_the_bound_passes_its_bits(bound: float, count: int) -> None:
    scale = power_of_two(torch.tensor(bound), count).item()
    assert math.frexp(scale)[0] == 0.5, "no power of two"
    assert bound * scale * max(count, 1) <= 2**BITS
    if bound > 1e-18 and count > 0:
        assert bound * scale * count >= 2 ** (BITS - 3), "bits are left unused"


def test_a_bound_beyond_float32_is_taken_for_its_largest() -> None:
    bounds = torch.tensor([1e300, torch.finfo(torch.float32).max], dtype=torch.float64)
    scales = power_of_two(bounds, 1)
    assert scales[0] == scales[1] and bool(scales.isfinite().all())


def test_the_largest_value_leaves_out_what_is_not_finite() -> None:
    values = torch.tensor([[1.0, -7.0, float("nan")], [float("inf"), 2.0, -float("inf")]])
    assert largest(values) == 7 and largest(values, 1).tolist() == [7, 2]
    assert largest(values[:0]) == 0 and largest(values.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_settled_sums_are_the_whole_numbers_over_the_scale(shape: tuple[int, ...]) -> None:
    sums = fixed_point(shape, torch.tensor([1.0, 2.0**-100, 2.0**100]), 2**16)
    sums.sums.copy_(sums.scale.double() * torch.tensor([0.75, 2.0**-101, -(2.0**99)]))
    sums.poisoned[..., 1] = 1
    settled = sums.settled()
    assert bool(settled[..., 1].isnan().all())
    assert settled[..., 0].unique().tolist() == [0.75] and settled[..., 2].unique().tolist() == [-(2.0**99)]
