"""The providers of mmcv where there is no mmcv: a stand-in has the signatures of its compiled functions."""

from __future__ import annotations

import sys
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
from portbev_cuda import mmcv_ops

CONVOLUTION, ATTENTION = mmcv_ops.KERNELS


def _conv(input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor | None, n: dict[str, Any]) -> Any:
    assert (n["kernel_h"], n["kernel_w"]) == tuple(weight.shape[2:])
    assert all(t.is_contiguous() and t.dtype == torch.float32 for t in (input, weight, offset, mask))
    pairs = ([n[f"{name}_h"], n[f"{name}_w"]] for name in ("stride", "pad", "dilation"))
    return DeformConv2dCall(input, offset, weight, mask, bias, *pairs, n["group"], n["deformable_group"])


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    **n: Any,
) -> None:
    call = _conv(input, weight, offset, mask, bias if n["with_bias"] else None, n)
    output.copy_(KERNELS.references["deform_conv2d"].run(call))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    **n: Any,
) -> None:
    found = KERNELS.references["deform_conv2d"].run(_conv(input, weight, offset, mask, None, n), grad_output)
    for into, gradient in zip((grad_input, grad_offset, grad_weight, grad_mask), found, strict=True):
        into.add_(gradient)


def _attend(value: Tensor, shapes: Tensor, first: Tensor, locations: Tensor, weights: Tensor, step: int) -> Any:
    assert shapes.dtype == first.dtype == torch.int64 and value.shape[0] % step == 0
    assert first.tolist() == [0, *shapes.prod(1).cumsum(0).tolist()[:-1]]
    counts = torch.full((value.shape[0],), locations.shape[1])
    return MsDeformAttnCall(value, locations.flatten(0, 1), weights.flatten(0, 1), counts, shapes.flatten().tolist())


def ms_deform_attn_forward(
    value: Tensor, shapes: Tensor, first: Tensor, locations: Tensor, weights: Tensor, im2col_step: int
) -> Tensor:
    call = _attend(value, shapes, first, locations, weights, im2col_step)
    out: Tensor = KERNELS.references["ms_deform_attn"].run(call)
    return out.unflatten(0, locations.shape[:2])


def ms_deform_attn_backward(
    value: Tensor,
    shapes: Tensor,
    first: Tensor,
    locations: Tensor,
    weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    call = _attend(value, shapes, first, locations, weights, im2col_step)
    found = KERNELS.references["ms_deform_attn"].run(call, grad_output.flatten(0, 1))
    for into, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), found, strict=True):
        into.add_(gradient.view_as(into))


@pytest.fixture
def ext(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``mmcv._ext`` that computes with the references."""
    module = ModuleType("mmcv._ext")
    functions = (
        modulated_deform_conv_forward,
        modulated_deform_conv_backward,
        ms_deform_attn_forward,
        ms_deform_attn_backward,
    )
    vars(module).update({f.__name__: f for f in functions}, get_compiling_cuda_version=lambda: "12.1")
    monkeypatch.setitem(sys.modules, "mmcv", ModuleType("mmcv"))
    monkeypatch.setitem(sys.modules, "mmcv._ext", module)
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("mask", [True, False])
def test_convolution_gets_what_it_asks_for_and_gives_what_the_operator_promises(
    ext: ModuleType, mask: bool, dtype: torch.dtype
) -> None:
    agrees(CONVOLUTION, convolution(mask=mask, bias=mask, dtype=dtype))


@pytest.mark.parametrize("counts", [[3, 3], [2, 0, 4]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_of_equal_and_of_ragged_counts(ext: ModuleType, counts: list[int], dtype: torch.dtype) -> None:
    agrees(ATTENTION, attention(counts, dtype))


def test_what_is_left_to_others() -> None:
    assert "float64" in str(CONVOLUTION.refusal(doubled(convolution(mask=True))))
    assert "float64" in str(ATTENTION.refusal(doubled(attention([1]))))
    assert ATTENTION.refusal(attention([0])) is not None
    empty = convolution(mask=False)
    assert CONVOLUTION.refusal(empty._replace(input=empty.input[:0])) == "empty"


def test_the_probe_says_what_is_missing(ext: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mmcv_ops.probe() is None
    vars(ext)["get_compiling_cuda_version"] = lambda: "not available"
    assert "without CUDA" in str(mmcv_ops.probe())
    del vars(ext)["ms_deform_attn_backward"]
    assert "has no ms_deform_attn_backward" in str(mmcv_ops.probe())
    monkeypatch.setitem(sys.modules, "mmcv._ext", None)
    assert "cannot be loaded" in str(mmcv_ops.probe())
    monkeypatch.delitem(sys.modules, "mmcv")
    monkeypatch.setattr(mmcv_ops.importlib.util, "find_spec", lambda name: None)
    assert str(mmcv_ops.probe()).startswith("mmcv is not installed")
