"""``deform_conv2d`` by mx_driving (DrivingSDK), Atlas A2.

``deform_conv2d(x, offset, weight, stride, padding, dilation, groups, deformable_groups)`` and
``modulated_deform_conv2d(x, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups)``, both
with mmcv's offset layout, which is the operator's own. Documented limits: float32, k x k kernels, groups 1,
deformable_groups 1, input channels a multiple of 64, bias None. Not run on a device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.gradients import gradients
from portbev_npu.kernels.limits import MX_DRIVING_CURE, first_of, float32_only, floating, package_has

PROVIDER = "mx_driving"


def supports(call: DeformConv2dCall) -> str | None:
    """The documented limits; a bias is added afterwards, so it is none of them."""
    return first_of(_limits(call), float32_only(PROVIDER, **floating(call)))


def supports_backward(grad_out: Tensor, call: DeformConv2dCall) -> str | None:
    """As :func:`supports`, with the gradient."""
    return first_of(_limits(call), float32_only(PROVIDER, grad=grad_out, **floating(call)))


def forward(call: DeformConv2dCall) -> Tensor:
    """Output (N,Co,Ho,Wo); see :func:`portbev.ops.deform_conv2d`."""
    output = _convolve(call)
    return output if call.bias is None else output + call.bias.view(1, -1, 1, 1)


def backward(grad_out: Tensor, call: DeformConv2dCall) -> tuple[Tensor, ...]:
    """Gradients of input, offset, weight and mask (empty without mask)."""
    return gradients(_convolve, call, ("input", "offset", "weight", "mask"), grad_out)


def _limits(call: DeformConv2dCall) -> str | None:
    channels, (height, width) = call.input.shape[1], call.weight.shape[2:]
    if call.deform_groups != 1:
        return f"deform_groups is {call.deform_groups}; {PROVIDER} takes 1 only"
    if call.groups != 1:
        return f"groups is {call.groups}; {PROVIDER} documents 1 only"
    if channels % 64:
        return f"{channels} input channels; {PROVIDER} needs a multiple of 64"
    if height != width:
        return f"kernel {height}x{width}; {PROVIDER} documents square kernels only"
    if 0 in call.input.shape:
        return "empty input"
    return None


def _convolve(call: DeformConv2dCall) -> Tensor:
    """The vendor's function, without the bias."""
    import mx_driving

    input, offset, weight, mask, _, stride, padding, dilation, groups, deform_groups = call
    shared = (tuple(stride), tuple(padding), tuple(dilation), groups, deform_groups)
    if mask is None:
        output = mx_driving.deform_conv2d(input, offset, weight, *shared)
    else:
        output = mx_driving.modulated_deform_conv2d(input, offset, mask, weight, None, *shared)
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
