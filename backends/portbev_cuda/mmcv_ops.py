"""``deform_conv2d`` and ``ms_deform_attn`` by mmcv's compiled operators, where an mmcv with them is installed.

The functions of ``mmcv._ext`` (mmcv 1.3 to 2.2), forwards and backwards by themselves: ``modulated_deform_conv_*``,
which serve version 1 too, with a mask of ones, and ``ms_deform_attn_*``. They compute half precision in half precision,
which the operators do not allow: it is taken to float32 first. Their sums are added by atomics. A sample whose offset
is NaN sends a gradient of NaN there; here such offsets are taken far out of the image first. Not run on a device.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.precision import widened
from portbev_cuda import dense
from portbev_cuda.dense import Dense

PROVIDER = "mmcv"
CURE = "install the mmcv that was built for this torch and CUDA (openmim's `mim install mmcv`, or from source)"
FUNCTIONS = tuple(
    f"{name}_{way}" for name in ("modulated_deform_conv", "ms_deform_attn") for way in ("forward", "backward")
)
FAR = 1e6
"""Pixels: out of any image."""


def probe() -> str | None:
    """None if mmcv is there with its operators, compiled for CUDA; else the reason with its cure."""
    if "mmcv" not in sys.modules and importlib.util.find_spec("mmcv") is None:
        return f"mmcv is not installed: {CURE}"
    try:
        ext = _ext()
    except Exception as error:  # mmcv-lite has none; one for another torch does not load
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"mmcv's operators cannot be loaded ({first}): {CURE}"
    lacking = [name for name in FUNCTIONS if not hasattr(ext, name)]
    if lacking:
        return f"this mmcv has no {', '.join(lacking)}: {CURE}"
    if str(ext.get_compiling_cuda_version()) == "not available":
        return f"this mmcv is compiled without CUDA: {CURE}"
    return None


def supports_convolution(call: DeformConv2dCall) -> str | None:
    """No float64, whose coordinates it rounds to float32 and then reads outside of the image; nothing empty."""
    return "empty" if 0 in (*call.input.shape, *call.weight.shape) else _float64(call.input)


def supports_attention(call: MsDeformAttnCall) -> str | None:
    """No float64, nothing empty."""
    return dense.empty(call) or _float64(call.value)


def _float64(tensor: Tensor) -> str | None:
    return "float64: computes float32" if tensor.dtype == torch.float64 else None


def convolution(call: DeformConv2dCall) -> Tensor:
    """Output (N, Co, Ho, Wo); see :func:`portbev.ops.deform_conv2d`."""
    input, offset, weight, mask = _tensors(call)
    bias = input.new_empty(0) if call.bias is None else widened(call.bias).contiguous()
    out = input.new_empty(input.shape[0], weight.shape[0], *offset.shape[2:])
    ones, columns = input.new_empty(0), input.new_empty(0)
    named = _geometry(call, with_bias=call.bias is not None)
    _ext().modulated_deform_conv_forward(input, weight, bias, ones, offset, mask, out, columns, **named)
    return out.to(call.input.dtype)


def convolution_backward(grad_out: Tensor, call: DeformConv2dCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by input, offset, weight and mask (empty without one)."""
    input, offset, weight, mask = _tensors(call)
    bias, ones, columns, grad_bias = (input.new_empty(0) for _ in range(4))
    grad_input, grad_weight, grad_offset, grad_mask = (torch.zeros_like(t) for t in (input, weight, offset, mask))
    read = (input, weight, bias, ones, offset, mask, columns)
    written = (grad_input, grad_weight, grad_bias, grad_offset, grad_mask)
    named = _geometry(call, with_bias=False)
    _ext().modulated_deform_conv_backward(*read, *written, widened(grad_out).contiguous(), **named)
    return (
        grad_input.to(call.input.dtype),
        grad_offset.to(call.offset.dtype),
        grad_weight.to(call.weight.dtype),
        call.offset.new_empty(0) if call.mask is None else grad_mask.to(call.mask.dtype),
    )


def attention(call: MsDeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    levels = dense.tables(tuple(call.shapes), torch.int64, call.value.device)

    def run(part: Dense) -> Tensor:
        step = part.value.shape[0]  # images at a time, a divisor of their number
        out: Tensor = _ext().ms_deform_attn_forward(part.value, *levels, part.locations, part.weights, im2col_step=step)
        return out

    return dense.forward(call, run)


def attention_backward(grad_out: Tensor, call: MsDeformAttnCall) -> dense.Gradients:
    """Gradients by value, locations and weights."""
    levels = dense.tables(tuple(call.shapes), torch.int64, call.value.device)

    def run(grad: Tensor, part: Dense) -> dense.Gradients:
        found = tuple(torch.zeros_like(t) for t in part)
        _ext().ms_deform_attn_backward(
            part.value, *levels, part.locations, part.weights, grad, *found, im2col_step=part.value.shape[0]
        )
        return found[0], found[1], found[2]

    return dense.backward(grad_out, call, run)


def _ext() -> Any:
    return importlib.import_module("mmcv._ext")


def _tensors(call: DeformConv2dCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Input, offset, weight and mask, contiguous, in float32; ones without a mask."""
    offset = widened(call.offset).nan_to_num(nan=FAR, posinf=FAR, neginf=-FAR).contiguous()
    N, twice, Ho, Wo = offset.shape
    mask = offset.new_ones(N, twice // 2, Ho, Wo) if call.mask is None else widened(call.mask).contiguous()
    return widened(call.input).contiguous(), offset, widened(call.weight).contiguous(), mask


def _geometry(call: DeformConv2dCall, *, with_bias: bool) -> dict[str, Any]:
    pairs = {"stride": call.stride, "pad": call.padding, "dilation": call.dilation}
    named = {f"{name}_{axis}": size for name, pair in pairs.items() for axis, size in zip("hw", pair, strict=True)}
    kernel = {"kernel_h": call.weight.shape[2], "kernel_w": call.weight.shape[3]}
    return {**kernel, **named, "group": call.groups, "deformable_group": call.deform_groups, "with_bias": with_bias}


_HOW: dict[str, Any] = {"backends": ("cuda",), "priority": 12, "deterministic": False, "probe": probe}
KERNELS = (
    Kernel("deform_conv2d", PROVIDER, convolution, convolution_backward, supports=supports_convolution, **_HOW),
    Kernel("ms_deform_attn", PROVIDER, attention, attention_backward, supports=supports_attention, **_HOW),
)
