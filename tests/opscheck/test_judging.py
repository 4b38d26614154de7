"""An error against rounding: what is rounding is not accused, and what is not is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from portbev.opscheck.judging import Band, Figures, judge
from portbev.opscheck.rounding import moved, rounding, unit

X = torch.randn(40, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def judged(found: Tensor, exact: Tensor = X, band: Band | None = None) -> Figures:
    """By the rounding of the result alone."""
    return judge(found, exact, unit(found.dtype) * exact.abs().nan_to_num(0.0, 0.0, 0.0) / 3**0.5, band)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
def test_a_value_that_is_rounded_once_is_not_accused(dtype: torch.dtype) -> None:
    figures = judged(X.to(dtype))
    assert figures.faults == ()
    assert figures.rms < 1.0 and figures.ulps[0] == X.numel()


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
def test_a_sum_of_many_terms_in_float32_is_not_accused(dtype: torch.dtype) -> None:
    terms = torch.randn(500, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype).double()
    wide = torch.float64 if dtype == torch.float64 else torch.float32

    def total(operands: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"result": operands["x"].sum(1)}

    exact = total({"x": terms})
    scale = rounding(total, {"x": terms}, {"x": unit(wide)}, exact, {"result": dtype}, 0)["result"]
    assert judge(terms.to(wide).cumsum(1)[:, -1].to(dtype), exact["result"], scale).faults == ()


@pytest.mark.parametrize("gain", [1e-6, -1e-6, 1e-3])
def test_a_tiny_bias_is_a_fault_though_its_rms_passes(gain: float) -> None:
    figures = judged((X * (1 + gain)).float())
    assert any("mean signed error" in fault and "of the value" in fault for fault in figures.faults)
    assert gain > 1e-4 or not any("rms" in fault for fault in figures.faults)
    assert figures.bias.gain == pytest.approx(gain, rel=0.05)


def test_a_tiny_offset_is_a_fault() -> None:
    figures = judged((X + 1e-6).float())
    assert any("of its rms" in fault for fault in figures.faults)
    assert figures.bias.offset == pytest.approx(1e-6, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_gradient_scaled_by_1_001_is_a_fault_in_half_precision(dtype: torch.dtype) -> None:
    assert any("mean signed error" in fault for fault in judged((X * 1.001).to(dtype)).faults)


def test_truncation_is_a_fault_in_half_precision() -> None:
    bits = X.float().view(torch.int32) & ~0xFFFF
    assert any("mean signed error" in fault for fault in judged(bits.view(torch.float32).bfloat16()).faults)


def test_a_rounding_to_fewer_bits_is_a_fault() -> None:
    for coarse in (X.bfloat16().float(), X.half().float(), _tf32(X.float())):
        assert any("rms" in fault for fault in judged(coarse).faults)


def _tf32(x: Tensor) -> Tensor:
    """Ten bits of the mantissa, to the nearest."""
    return ((x.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def test_one_wrong_element_among_thousands_is_a_fault_and_is_found() -> None:
    found = X.float()
    found[7, 11] += 1e-3
    figures = judged(found)
    assert figures.faults and figures.where == (7, 11)
    assert 0 < figures.wrong < 1e-3


def test_nan_and_infinity_have_to_agree() -> None:
    exact = X.clone()
    exact[0, 0], exact[0, 1], exact[0, 2] = float("nan"), float("inf"), -float("inf")
    assert judged(exact.float(), exact).faults == ()
    for place, wrong in (((0, 0), 0.0), ((0, 1), float("nan")), ((0, 2), float("inf")), ((3, 3), float("nan"))):
        found = exact.float()
        found[place] = wrong
        assert judged(found, exact).differing == 1
        assert judged(found, exact).faults


def test_overflow_of_half_precision_is_what_the_dtype_asks_for() -> None:
    exact = torch.tensor([1e6, 1.0], dtype=torch.float64)
    assert judged(exact.half(), exact).faults == ()
    assert judged(torch.tensor([65504.0, 1.0]).half(), exact).faults


def test_whole_numbers_are_equal_or_wrong() -> None:
    exact = torch.arange(6)
    assert judge(exact.int(), exact, exact).faults == ()
    assert judge(exact + (exact == 3), exact, exact).differing == 1
    assert judge(exact == 2, exact == 3, exact).faults


def test_another_shape_is_a_fault() -> None:
    assert "shape" in judged(X[1:].float()).faults[0]


def test_elements_at_an_edge_may_be_on_either_side_and_nowhere_else() -> None:
    exact = X.clone()
    at = torch.zeros(X.shape, dtype=torch.bool)
    at[5] = True
    band = Band(at, exact - 1.0 * at, exact + 2.0 * at)
    for shift in (-1.0, 0.0, 0.5, 2.0):
        figures = judged((exact + shift * at).float(), band=band)
        assert figures.faults == () and figures.edges == 64
    assert judged((exact + 2.1 * at).float(), band=band).outside == 64
    assert judged((exact - 1.1 * at).float(), band=band).faults


def test_the_rounding_of_one_shared_number_is_no_bias() -> None:
    exact = torch.full((30, 20), 1 / 3, dtype=torch.float64)
    for dtype in DTYPES:
        assert judged(exact.to(dtype), exact).faults == ()


def test_rounding_is_large_where_terms_cancel() -> None:
    x = torch.tensor([1.0, 1.0], dtype=torch.float64)

    def difference(operands: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"result": (operands["x"][0] - operands["x"][1])[None]}

    exact = difference({"x": x})
    scale = rounding(difference, {"x": x}, {"x": unit(torch.float32)}, exact, {"result": torch.float32}, 0)
    assert 1e-9 < float(scale["result"]) < 1e-7


def test_operands_are_moved_by_at_most_half_a_unit() -> None:
    there = moved({"x": X}, {"x": 2**-24}, torch.Generator().manual_seed(0))["x"]
    steps = ((there - X) / X).abs()
    assert float(steps.max()) <= 2**-24 and float(steps.mean()) > 2**-26
