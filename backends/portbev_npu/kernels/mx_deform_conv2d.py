"""``deform_conv2d`` by mx_driving (DrivingSDK), Atlas A2 and A3.

``deform_conv2d(x, offset, weight, stride, padding, dilation, groups, deformable_groups)`` and
``modulated_deform_conv2d(x, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups)``, both
with mmcv's offset layout, which is the operator's own. float32, to which half precision is taken here and rounded once
at the end, as the operator promises; deformable_groups 1, input channels a multiple of 64.
With a mask: 3 x 3 taps, output channels a multiple of 64 as well, and a bias that is ignored (it is added here).
Read in the wheels 26.1.0 and 26.2.0; not run on a device.

The wheel has two sets of kernels and does not say which. With a mask, 256 or 512 input channels and one group it takes
the second, which never uses stride, padding and dilation, and whose backward divides by the mask. Everything else takes
the first, which holds a row of the output in local memory, and whose backward scrambles the gradient of the offsets if
there is a mask.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.gradients import gradients
from portbev.ops.precision import widened
from portbev_npu.chips import chip_lacks
from portbev_npu.kernels.limits import (
    MX_DRIVING_CURE,
    first_of,
    float32_or_half,
    floating,
    nonempty,
    package_has,
    widened_call,
)
from portbev_npu.vendor import driving

PROVIDER = "mx_driving"
SECOND_SET = (256, 512)
"""Input channels that take the second set of kernels."""
MAX_BACKWARD_CHANNELS = 512
LOCAL_MEMORY = 192 * 1024
"""Bytes that a core has for a row of the output."""
LEAST_MASK = 2.0**-60
"""What the backward divides by in place of a mask that is (nearly) zero: far below the resolution of any sum."""


def supports(call: DeformConv2dCall) -> str | None:
    """What the wheel raises for, and what it computes wrong without a word."""
    return first_of(_limits(call), nonempty(input=call.input), float32_or_half(PROVIDER, **floating(call)), _chip(call))


def supports_backward(grad_out: Tensor, call: DeformConv2dCall) -> str | None:
    """As :func:`supports`, with the gradient, and what only the backward computes wrong."""
    limits = first_of(_limits(call), nonempty(input=call.input), _backward_limits(call))
    return first_of(limits, float32_or_half(PROVIDER, grad=grad_out, **floating(call)), _chip(call))


def forward(call: DeformConv2dCall) -> Tensor:
    """Output (N,Co,Ho,Wo); see :func:`portbev.ops.deform_conv2d`."""
    wide = widened_call(call)
    output = _convolve(wide).contiguous()
    output = output if wide.bias is None else output + wide.bias.view(1, -1, 1, 1)
    return output.to(call.input.dtype)


def backward(grad_out: Tensor, call: DeformConv2dCall) -> tuple[Tensor, ...]:
    """Gradients of input, offset, weight and mask (empty without mask), contiguous."""
    fields = ("input", "offset", "weight", "mask")
    wide, grad = widened_call(call), widened(grad_out)
    if wide.mask is None:
        found = gradients(_convolve, wide, fields, grad)
    else:
        divisor = wide.mask.where(wide.mask.abs() >= LEAST_MASK, LEAST_MASK)
        found = gradients(_convolve, wide._replace(mask=divisor), fields, grad)
        taps_off = (wide.mask == 0).repeat_interleave(2, dim=1)
        found = (found[0], found[1].masked_fill(taps_off, 0.0), *found[2:])
    return tuple(gradient.contiguous().to(call.input.dtype) for gradient in found)


def second_set(call: DeformConv2dCall) -> bool:
    """Whether the wheel takes its second set of kernels for ``call``."""
    return call.mask is not None and call.groups == 1 and call.input.shape[1] in SECOND_SET


def row_bytes(call: DeformConv2dCall) -> int:
    """Local memory that the first set needs for a row of the output."""
    taps = call.weight.shape[2] * call.weight.shape[3] * call.offset.shape[3]
    buffers = 12 if call.mask is None else 13
    return 4 * buffers * ((taps + 63) // 64 * 64) + 104 * call.input.shape[1]


def _limits(call: DeformConv2dCall) -> str | None:
    channels, results, (height, width) = call.input.shape[1], call.weight.shape[0], call.weight.shape[2:]
    if call.deform_groups != 1:
        return f"deform_groups is {call.deform_groups}; {PROVIDER} takes 1 only"
    if channels % 64:
        return f"{channels} input channels; {PROVIDER} needs a multiple of 64"
    if call.mask is not None and (height, width) != (3, 3):
        return f"kernel {height}x{width} with a mask; {PROVIDER} takes 3x3 only"
    if call.mask is not None and results % 64:
        return f"{results} output channels with a mask; {PROVIDER} needs a multiple of 64"
    if height != width:
        return f"kernel {height}x{width}; {PROVIDER} documents square kernels only"
    return _unit_steps(call) if second_set(call) else _row(call)


def _unit_steps(call: DeformConv2dCall) -> str | None:
    steps = {"stride": call.stride, "padding": call.padding, "dilation": call.dilation}
    for name, value in steps.items():
        if list(value) != [1, 1]:
            what = f"{name} {tuple(value)} with a mask and {call.input.shape[1]} input channels"
            return f"{what}; {PROVIDER} computes as if it were 1"
    return None


def _row(call: DeformConv2dCall) -> str | None:
    need = row_bytes(call)
    if need <= LOCAL_MEMORY:
        return None
    row = f"a row of {call.offset.shape[3]} results with {call.input.shape[1]} input channels"
    return f"{row} needs {need:,} bytes; {PROVIDER} has {LOCAL_MEMORY:,} and does not look"


def _backward_limits(call: DeformConv2dCall) -> str | None:
    if second_set(call):
        return None
    if call.mask is not None:
        what = f"gradient of the offsets with a mask, {call.input.shape[1]} input channels and groups {call.groups}"
        return f"{what}; {PROVIDER} scrambles it unless there are 256 or 512 and one group"
    if call.input.shape[1] > MAX_BACKWARD_CHANNELS:
        return f"{call.input.shape[1]} input channels; {PROVIDER}'s backward is wrong above {MAX_BACKWARD_CHANNELS}"
    return None


def _chip(call: DeformConv2dCall) -> str | None:
    return chip_lacks("deform_conv2d" if call.mask is None else "modulated_deform_conv2d")


def _convolve(call: DeformConv2dCall) -> Tensor:
    """The vendor's function, without the bias."""
    input, offset, weight, mask, _, stride, padding, dilation, groups, deform_groups = call
    shared = (tuple(stride), tuple(padding), tuple(dilation), groups, deform_groups)
    if mask is None:
        output = driving().deform_conv2d(input, offset, weight, *shared)
    else:
        output = driving().modulated_deform_conv2d(input, offset, mask, weight, None, *shared)
    assert isinstance(output, torch.Tensor)
    return output


KERNEL = Kernel(
    operator="deform_conv2d",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    backward=backward,
    supports=supports,
    supports_backward=supports_backward,
    priority=30,
    deterministic=False,  # nowhere documented; gradients of the input are scattered
    probe=package_has(PROVIDER, ("deform_conv2d", "modulated_deform_conv2d"), MX_DRIVING_CURE),
)
