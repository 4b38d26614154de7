"""Stand-in for the operators of ``torch_npu``.

``npu_deformable_conv2d`` takes offsets as cat([x, y, mask]) on channels, kernel_size [kH, kW], and four values for
stride, padding and dilation; its second output belongs to the backward function.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev_emulated.memory import to_device_alias, to_host_alias
from portbev_emulated.standins import reference
from portbev_emulated.standins.checks import integers, output_size, require, tensor

FLOAT = torch.float32


def npu_deformable_conv2d(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    bias: Tensor | None,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int] | None = None,
    groups: int = 1,
    deformable_groups: int = 1,
    modulated: bool = True,
) -> tuple[Tensor, Tensor]:
    """Output (N,Co,Ho,Wo), and what the backward function wants as ``offset_out``."""
    name = "npu_deformable_conv2d"
    tail = _check(
        name, input, weight, offset, kernel_size, stride, padding, dilation, groups, deformable_groups, modulated
    )
    if bias is not None:
        tensor(name, "bias", bias, FLOAT, (weight.shape[0],))
    offsets, mask = _unpack(offset)
    output = reference.forward("deform_conv2d", DeformConv2dCall(input, offsets, weight, mask, bias, *tail))
    return output, _receipt(input, weight, offset)


def npu_deformable_conv2dbk(
    input: Tensor,
    grad_output: Tensor,
    offset_out: Tensor,
    weight: Tensor,
    offset: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int] | None = None,
    groups: int = 1,
    deformable_groups: int = 1,
    modulated: bool = True,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of input, weight, offset (packed as ``offset`` is) and bias."""
    name = "npu_deformable_conv2dbk"
    tail = _check(
        name, input, weight, offset, kernel_size, stride, padding, dilation, groups, deformable_groups, modulated
    )
    tensor(name, "grad_output", grad_output, FLOAT, (input.shape[0], weight.shape[0], *offset.shape[2:]))
    expected = _receipt(input, weight, offset)
    tensor(name, "offset_out", offset_out, FLOAT, tuple(expected.shape))
    given, made = (to_host_alias(one)[:1, :1, :1, :1].nan_to_num() for one in (offset_out, expected))
    require(
        torch.equal(given, made), name, "offset_out must be the second output of the forward call with these arguments"
    )
    offsets, mask = _unpack(offset)
    call = DeformConv2dCall(input, offsets, weight, mask, None, *tail)
    grad_input, grad_offsets, grad_weight, grad_mask = reference.backward("deform_conv2d", grad_output, call)
    packed = torch.cat([grad_offsets[:, 1::2], grad_offsets[:, 0::2], grad_mask], dim=1)
    return grad_input, grad_weight, packed, grad_output.sum(dim=(0, 2, 3))


def _check(
    name: str,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int] | None,
    groups: int,
    deformable_groups: int,
    modulated: bool,
) -> tuple[Any, ...]:
    """Arguments against the documentation; returns the fields from ``stride`` on of the operator's call."""
    tensor(name, "input", input, FLOAT, (None,) * 4)
    batch, channels, height, width = input.shape
    require(groups >= 1 and channels % groups == 0, name, f"groups {groups} must divide {channels} channels")
    require(channels % deformable_groups == 0, name, f"deformable_groups {deformable_groups} must divide {channels}")
    tensor(name, "weight", weight, FLOAT, (None, channels // groups, None, None))
    kernel_height, kernel_width = weight.shape[2:]
    taps_by_axis = integers(name, "kernel_size", kernel_size, 2, 1)
    fits = taps_by_axis == [kernel_height, kernel_width]
    require(fits, name, f"kernel_size must be [kH, kW] of weight, is {taps_by_axis}")
    strides = integers(name, "stride", stride, 4, 1)
    dilations = integers(name, "dilation", [1, 1, 1, 1] if dilation is None else dilation, 4, 1)
    pads = integers(name, "padding", padding, 4, 0)
    require(strides[:2] == [1, 1], name, f"stride must be [1, 1, s, s], is {strides}")
    require(dilations[:2] == [1, 1], name, f"dilation must be [1, 1, d, d], is {dilations}")
    require(strides[2] == strides[3], name, f"stride must be [1, 1, s, s], is {strides}")
    require(dilations[2] == dilations[3], name, f"dilation must be [1, 1, d, d], is {dilations}")
    require(len(set(pads)) == 1, name, f"padding must be [p, p, p, p], is {pads}")
    require(modulated is True, name, "modulated must be True: offset holds x, y and mask")
    pad = pads[0]
    out = (
        output_size(height, kernel_height, strides[2], pad, dilations[2]),
        output_size(width, kernel_width, strides[3], pad, dilations[3]),
    )
    taps = deformable_groups * kernel_height * kernel_width
    tensor(name, "offset", offset, FLOAT, (batch, 3 * taps, *out))
    return strides[2:], [pad, pad], dilations[2:], groups, deformable_groups


def _unpack(offset: Tensor) -> tuple[Tensor, Tensor]:
    """cat([x, y, mask]) to the reference's (dy, dx) per tap, and the mask."""
    x, y, mask = offset.detach().chunk(3, dim=1)
    return torch.stack([y, x], dim=2).flatten(1, 2), mask.contiguous()


def _receipt(input: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    """Second output: of the real one's shape (N, Ci, Ho*kH, Wo*kW), and holding no more than proof of its call."""
    batch, _, height, width = offset.shape
    kernel_height, kernel_width = weight.shape[2:]
    proof = to_host_alias(offset.detach()).double().sum() + to_host_alias(input.detach()).double().sum()
    shape = (batch, input.shape[1], height * kernel_height, width * kernel_width)
    return to_device_alias(proof.float()).expand(shape)


FUNCTIONS: dict[str, object] = {
    "npu_deformable_conv2d": npu_deformable_conv2d,
    "npu_deformable_conv2dbk": npu_deformable_conv2dbk,
}
