"""The providers of deformops where there is no deformops: a stand-in has the schemas of its operators."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from borrowed_calls import agrees, attention, convolution, doubled
from torch import Tensor

import portbev.ops  # noqa: F401
from portbev.kernels import KERNELS
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev_cuda import deformops_triton

CONVOLUTION, ATTENTION = deformops_triton.KERNELS
GEOMETRY = (
    "int stride_h, int stride_w, int pad_h, int pad_w, int dilation_h, int dilation_w, int groups, int offset_groups"
)
ATTENDED = (
    "Tensor value, Tensor spatial_shapes, Tensor level_start_index, Tensor sampling_locations, Tensor attention_weights"
)
SCHEMAS = (
    f"conv_deform2d_forward(Tensor value, Tensor offset, Tensor? mask, Tensor weight, Tensor? bias, {GEOMETRY})"
    " -> Tensor",
    "conv_deform2d_backward(Tensor grad_output, Tensor value, Tensor offset, Tensor? mask, Tensor weight,"
    f" {GEOMETRY}, *, bool needs_value_grad, bool needs_offset_grad, bool needs_mask_grad, bool needs_weight_grad,"
    " ScalarType? bias_dtype) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    f"msda_query_tiled_fp32acc_forward({ATTENDED}) -> Tensor",
    f"msda_query_tiled_fp32acc_backward(Tensor grad_output, {ATTENDED}) -> (Tensor, Tensor, Tensor)",
)


def _conv(value: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, *n: int) -> Any:
    N, Ho, Wo, _, taps, _ = offset.shape
    assert bool((offset.abs() < 2**24).all()) and taps == weight[0, 0].numel()
    ours = offset.permute(0, 3, 4, 5, 1, 2).reshape(N, -1, Ho, Wo)
    weighted = None if mask is None else mask.permute(0, 3, 4, 1, 2).reshape(N, -1, Ho, Wo)
    pairs = list(n[:2]), list(n[2:4]), list(n[4:6])
    return DeformConv2dCall(value.permute(0, 3, 1, 2), ours, weight, weighted, bias, *pairs, *n[6:])


def conv_deform2d_forward(
    value: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor | None, *geometry: int
) -> Tensor:
    call = _conv(value, offset, mask, weight, bias, *geometry)
    out: Tensor = KERNELS.references["deform_conv2d"].run(call)
    return out.permute(0, 2, 3, 1).contiguous()


def conv_deform2d_backward(
    grad: Tensor, value: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, *geometry: int, **wanted: Any
) -> tuple[Tensor, ...]:
    assert wanted["needs_mask_grad"] == (mask is not None) and wanted["bias_dtype"] is None
    call = _conv(value, offset, mask, weight, None, *geometry)
    found = KERNELS.references["deform_conv2d"].run(call, grad.permute(0, 3, 1, 2).contiguous())
    N, Ho, Wo, dg, taps, _ = offset.shape
    by_offset = found[1].view(N, dg, taps, 2, Ho, Wo).permute(0, 4, 5, 1, 2, 3).contiguous()
    by_mask = value.new_empty(0) if mask is None else found[3].view(N, dg, taps, Ho, Wo).permute(0, 3, 4, 1, 2)
    by_value = found[0].permute(0, 2, 3, 1).contiguous()
    return by_value, by_offset, by_mask.contiguous(), found[2], value.new_empty(0)


def _attend(value: Tensor, shapes: Tensor, first: Tensor, locations: Tensor, weights: Tensor) -> Any:
    assert shapes.dtype == first.dtype == torch.int32 and bool(locations.isfinite().all())
    assert value.dtype == weights.dtype
    counts = torch.full((value.shape[0],), locations.shape[1])
    return MsDeformAttnCall(value, locations.flatten(0, 1), weights.flatten(0, 1), counts, shapes.flatten().tolist())


def msda_query_tiled_fp32acc_forward(*given: Tensor) -> Tensor:
    out: Tensor = KERNELS.references["ms_deform_attn"].run(_attend(*given))
    return out.unflatten(0, given[3].shape[:2])


def msda_query_tiled_fp32acc_backward(grad: Tensor, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    found = KERNELS.references["ms_deform_attn"].run(_attend(*given), grad.flatten(0, 1))
    return found[0], found[1].view_as(given[3]), found[2].view_as(given[4])


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """``torch.ops.deformops_triton`` that computes with the references."""
    names = ["deformops", "deformops.backends", "deformops.backends.triton"]
    modules = [f"deformops.backends.triton.{n}" for n in (deformops_triton.CONVOLUTION, deformops_triton.ATTENTION)]
    for name in (*names, *modules):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    with torch.library._scoped_library("deformops_triton", "DEF") as library:
        for schema in SCHEMAS:
            library.define(schema)
            name = schema.split("(")[0]
            library.impl(name, globals()[name], "CompositeExplicitAutograd")
        yield


@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("mask", [True, False])
def test_convolution_gets_what_it_asks_for_and_gives_what_the_operator_promises(mask: bool, dtype: torch.dtype) -> None:
    agrees(CONVOLUTION, convolution(mask=mask, bias=mask, dtype=dtype))


@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize("counts", [[3, 3], [2, 0, 4]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_of_equal_and_of_ragged_counts(counts: list[int], dtype: torch.dtype) -> None:
    agrees(ATTENTION, attention(counts, dtype))


def test_what_is_left_to_others() -> None:
    assert "float64" in str(CONVOLUTION.refusal(doubled(convolution(mask=True))))
    assert "float64" in str(ATTENTION.refusal(doubled(attention([1]))))
    assert ATTENTION.refusal(attention([0])) is not None
    call = convolution(mask=False)
    assert CONVOLUTION.refusal(call._replace(input=call.input[:0])) == "empty"
    many = call.input.new_empty(1).expand(65_536, 12, 6, 7)
    assert "65536 images" in str(CONVOLUTION.refusal(call._replace(input=many)))


@pytest.mark.usefixtures("operators")
def test_the_probe_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CONVOLUTION.probe() is None and ATTENTION.probe() is None
    monkeypatch.setitem(sys.modules, "deformops.backends.triton.conv_deform2d", None)
    assert "cannot be used" in str(CONVOLUTION.probe()) and ATTENTION.probe() is None
    monkeypatch.setitem(sys.modules, "deformops.backends.triton.new", ModuleType("new"))
    assert "has no new_forward, new_backward" in str(deformops_triton.probe("new"))
    monkeypatch.delitem(sys.modules, "deformops")
    monkeypatch.setattr(deformops_triton.importlib.util, "find_spec", lambda name: None)
    assert str(CONVOLUTION.probe()).startswith("deformops is not installed: pip install")
