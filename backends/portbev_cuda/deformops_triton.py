"""``deform_conv2d`` and ``ms_deform_attn`` by deformops, whose kernels are in Triton.

Its operators ``deformops_triton::conv_deform2d_*`` and ``deformops_triton::msda_query_tiled_fp32acc_*`` (deformops
3.0), which importing their modules registers; forwards and backwards by themselves. Images are channels last, offsets
(N, Ho, Wo, deform groups, taps, 2), masks (N, Ho, Wo, deform groups, taps). The convolution computes halves in float32
and rounds once; the attention wants weights of the dtype of values, and gets halves in float32. Sums are added by
atomics. Points that are far away or nowhere are brought near, but out of the image: its kernels make integers of all.
Not run on a device.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev_cuda import dense
from portbev_cuda.dense import Dense

PROVIDER = "deformops"
CURE = "pip install 'deformops>=3.0,<4' (Python 3.12 or 3.13, torch 2.11 or newer, Triton)"
CONVOLUTION, ATTENTION = "conv_deform2d", "msda_query_tiled_fp32acc"
"""Modules of ``deformops.backends.triton``: each has the operators ``NAME_forward`` and ``NAME_backward``."""
NEAR = 8.0
"""Locations: out of any level, which spans 0 to 1."""


def probe(module: str) -> str | None:
    """None if deformops has the operators of this module, else the reason with its cure.

    Some versions of Triton refuse one of the modules (3.9 the convolution of deformops 3.0.1), and take the other.
    """
    if "deformops" not in sys.modules and importlib.util.find_spec("deformops") is None:
        return f"deformops is not installed: {CURE}"
    try:
        importlib.import_module(f"deformops.backends.triton.{module}")
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"deformops cannot be used ({first:.200}): {CURE}"
    names = [f"{module}_{way}" for way in ("forward", "backward")]
    lacking = [name for name in names if not hasattr(torch.ops.deformops_triton, name)]
    return f"this deformops has no {', '.join(lacking)}: {CURE}" if lacking else None


def supports_convolution(call: DeformConv2dCall) -> str | None:
    """No float64, nothing empty, what int32 numbers, and as many images as a launch has along its last axis."""
    if 0 in (*call.input.shape, *call.weight.shape):
        return "empty"
    if len(call.input) > 65_535:
        return f"{len(call.input)} images: takes up to 65535"
    return _unsupported(call.input, call.offset, call.weight)


def supports_attention(call: MsDeformAttnCall) -> str | None:
    """No float64, nothing empty, and what int32 numbers."""
    return dense.empty(call) or _unsupported(call.value, call.locations)


def convolution(call: DeformConv2dCall) -> Tensor:
    """Output (N, Co, Ho, Wo); see :func:`portbev.ops.deform_conv2d`."""
    value, offset, mask, weight = _tensors(call)
    with _on(value.device):
        out: Tensor = torch.ops.deformops_triton.conv_deform2d_forward(
            value, offset, mask, weight, call.bias, *_geometry(call)
        )
    return out.permute(0, 3, 1, 2).contiguous()


def convolution_backward(grad_out: Tensor, call: DeformConv2dCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by input, offset, weight and mask (empty without one)."""
    value, offset, mask, weight = _tensors(call)
    grad = grad_out.permute(0, 2, 3, 1).contiguous()
    wanted = {f"needs_{name}_grad": True for name in ("value", "offset", "weight")}
    with _on(value.device):
        by_value, by_offset, by_mask, by_weight, _ = torch.ops.deformops_triton.conv_deform2d_backward(
            grad,
            value,
            offset,
            mask,
            weight,
            *_geometry(call),
            **wanted,
            needs_mask_grad=mask is not None,
            bias_dtype=None,
        )
    grad_mask = call.offset.new_empty(0)
    if call.mask is not None:
        grad_mask = by_mask.permute(0, 3, 4, 1, 2).reshape(call.mask.shape).contiguous()
    return (
        by_value.permute(0, 3, 1, 2).contiguous(),
        by_offset.permute(0, 3, 4, 5, 1, 2).reshape(call.offset.shape).contiguous(),
        by_weight.contiguous(),
        grad_mask,
    )


def attention(call: MsDeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    levels = dense.tables(tuple(call.shapes), torch.int32, call.value.device)

    def run(part: Dense) -> Tensor:
        with _on(part.value.device):
            out: Tensor = torch.ops.deformops_triton.msda_query_tiled_fp32acc_forward(
                part.value, *levels, _near(part.locations), part.weights
            )
        return out

    return dense.forward(call, run)


def attention_backward(grad_out: Tensor, call: MsDeformAttnCall) -> dense.Gradients:
    """Gradients by value, locations and weights."""
    levels = dense.tables(tuple(call.shapes), torch.int32, call.value.device)

    def run(grad: Tensor, part: Dense) -> dense.Gradients:
        with _on(part.value.device):
            found: dense.Gradients = torch.ops.deformops_triton.msda_query_tiled_fp32acc_backward(
                grad, part.value, *levels, _near(part.locations), part.weights
            )
        return found

    return dense.backward(grad_out, call, run)


def _tensors(call: DeformConv2dCall) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Image, offset, mask and weight in the library's layout."""
    N, _, Ho, Wo = call.offset.shape
    dg, taps, far = call.deform_groups, call.weight.shape[2] * call.weight.shape[3], float(2 * max(_reach(call)))
    offset = call.offset.nan_to_num(nan=far).clamp(-far, far)
    offset = offset.reshape(N, dg, taps, 2, Ho, Wo).permute(0, 4, 5, 1, 2, 3).contiguous()
    mask = call.mask
    if mask is not None:
        mask = mask.reshape(N, dg, taps, Ho, Wo).permute(0, 3, 4, 1, 2).contiguous()
    return call.input.permute(0, 2, 3, 1).contiguous(), offset, mask, call.weight.contiguous()


def _reach(call: DeformConv2dCall) -> tuple[int, int]:
    """What no tap that has a share in the image is moved by, along height and width."""
    sizes = zip(call.input.shape[2:], call.padding, call.dilation, call.weight.shape[2:], strict=True)
    height, width = (size + 2 * pad + dilation * taps for size, pad, dilation, taps in sizes)
    return height, width


def _near(locations: Tensor) -> Tensor:
    return locations.nan_to_num(nan=NEAR).clamp(-NEAR, NEAR)


def _geometry(call: DeformConv2dCall) -> tuple[int, ...]:
    return (*call.stride, *call.padding, *call.dilation, call.groups, call.deform_groups)


def _unsupported(*tensors: Tensor) -> str | None:
    if tensors[0].dtype == torch.float64:
        return "float64: computes float32"
    most = max(tensor.numel() for tensor in tensors)
    return f"{most} values: at most 2**31 - 1 are numbered" if most >= 2**31 else None


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


_HOW: dict[str, Any] = {"backends": ("cuda",), "priority": 15, "deterministic": False}
KERNELS = (
    Kernel(
        "deform_conv2d",
        PROVIDER,
        convolution,
        convolution_backward,
        supports=supports_convolution,
        probe=partial(probe, CONVOLUTION),
        **_HOW,
    ),
    Kernel(
        "ms_deform_attn",
        PROVIDER,
        attention,
        attention_backward,
        supports=supports_attention,
        probe=partial(probe, ATTENTION),
        **_HOW,
    ),
)
