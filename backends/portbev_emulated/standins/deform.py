"""Stand-in for the deformable convolution of ``mx_driving``, as its wheels 26.1.0 and 26.2.0 have it for Atlas A2.

Like the real ones these are autograd functions, some followed by a permutation outside of it. What the wheel computes
wrong without a word is refused here, or comes out as wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev_emulated.standins import reference
from portbev_emulated.standins.checks import output_size, pair, require, tensor

Sizes = int | tuple[int, ...]  # what the library takes for stride, padding and dilation
FLOAT, INT = torch.float32, torch.int32


class _DeformConv2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, tail: tuple[Any, ...]) -> Any:
        ctx.save_for_backward(x, offset, mask, weight)
        ctx.tail = tail
        return reference.forward("deform_conv2d", DeformConv2dCall(x, offset, weight, mask, None, *tail))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, offset, mask, weight = ctx.saved_tensors
        call = DeformConv2dCall(x, offset, weight, mask, None, *ctx.tail)
        name = "deform_conv2d" if mask is None else "modulated_deform_conv2d"
        second = mask is not None and _second_set(x, call.groups)
        require(mask is None or second, name, "the gradient of the offsets comes out scrambled for these channels")
        require(second or x.shape[1] <= 512, name, "the backward is wrong for more than 512 input channels")
        grad_x, grad_offset, grad_weight, grad_mask = reference.backward("deform_conv2d", grad.contiguous(), call)
        if mask is None:
            return _channels_last(grad_x), grad_offset, None, _channels_last(grad_weight), None
        grad_mask = grad_mask.where(mask != 0, float("nan"))  # the wheel's kernel divides by the mask
        return _channels_last(grad_x), _channels_last(grad_offset), grad_mask, grad_weight, None


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    deformable_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Any:
    """x (n,c_in,h,w), offset (n,2*k*k,ho,wo) as mmcv's, weight (c_out,c_in/groups,k,k), float32 -> (n,c_out,ho,wo).

    ``bias`` and ``im2col_step`` are ignored, as in the wheel.
    """
    tail = _check_deform("deform_conv2d", x, offset, None, weight, stride, padding, dilation, groups, deformable_groups)
    return _DeformConv2d.apply(x, offset, None, weight, tail)


def modulated_deform_conv2d(
    x: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    deformable_groups: int = 1,
) -> Any:
    """As :func:`deform_conv2d` with mask (n,k*k,ho,wo); ``bias`` must be None (the wheel ignores it)."""
    name = "modulated_deform_conv2d"
    require(bias is None, name, "bias is ignored, pass None")
    require(mask is not None, name, "mask must be a tensor")
    require(tuple(weight.shape[2:]) == (3, 3), name, "Kernel size only support 3")
    require(x.shape[1] % 64 == 0 and weight.shape[0] % 64 == 0, name, "Channel only support 64-aligned")
    plain = all(pair(name, label, value, 0) == [1, 1] for label, value in _steps(stride, padding, dilation))
    require(plain or not _second_set(x, groups), name, "stride, padding and dilation are taken to be 1")
    tail = _check_deform(name, x, offset, mask, weight, stride, padding, dilation, groups, deformable_groups)
    return _DeformConv2d.apply(x, offset, mask, weight, tail)


def _second_set(x: Tensor, groups: int) -> bool:
    """Whether a call with a mask takes the wheel's second set of kernels."""
    return groups == 1 and x.shape[1] in (256, 512)


def _channels_last(result: Tensor) -> Tensor:
    """The same values, strided: the wheel hands back views."""
    return result.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _steps(stride: Sizes, padding: Sizes, dilation: Sizes) -> list[tuple[str, Sizes]]:
    return [("stride", stride), ("padding", padding), ("dilation", dilation)]


def _check_deform(
    name: str,
    x: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
    deformable_groups: int,
) -> tuple[Any, ...]:
    """Arguments of a deformable convolution against the documentation; returns the fields from ``stride`` on."""
    tensor(name, "x", x, FLOAT, (None,) * 4)
    batch, channels, height, width = x.shape
    require(deformable_groups == 1, name, "deformable_groups must be 1")
    require(channels % 64 == 0, name, f"c_in must be a multiple of 64, is {channels}")
    tensor(name, "weight", weight, FLOAT, (None, channels // groups, None, None))
    kernel = weight.shape[2]
    require(weight.shape[3] == kernel, name, f"weight must be (c_out, c_in, k, k), is {tuple(weight.shape)}")
    strides, pads = pair(name, "stride", stride, 1), pair(name, "padding", padding, 0)
    dilations = pair(name, "dilation", dilation, 1)
    out = [output_size(s, kernel, *three) for s, *three in zip((height, width), strides, pads, dilations, strict=True)]
    tensor(name, "offset", offset, FLOAT, (batch, 2 * kernel * kernel, *out))
    if mask is not None:
        tensor(name, "mask", mask, FLOAT, (batch, kernel * kernel, *out))
    if mask is None or not _second_set(x, groups):
        row = 4 * (12 if mask is None else 13) * (-(-kernel * kernel * out[1] // 64) * 64) + 104 * channels
        require(row <= 192 * 1024, name, f"a row of {out[1]} results does not fit the local memory")
    return strides, pads, dilations, groups, deformable_groups


FUNCTIONS: dict[str, object] = {"deform_conv2d": deform_conv2d, "modulated_deform_conv2d": modulated_deform_conv2d}
