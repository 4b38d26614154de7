"""``deform_conv2d`` by mx_driving (DrivingSDK), Atlas A2.

``deform_conv2d(x, offset, weight, stride, padding, dilation, groups, deformable_groups)`` and
``modulated_deform_conv2d(x, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups)``, both
with mmcv's offset layout, which is the operator's own. Documented limits: float32, k x k kernels, groups 1,
deformable_groups 1, input channels a multiple of 64, bias None. Not run on a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev_npu.kernels.gradients import gradients
from portbev_npu.kernels.limits import MX_DRIVING_CURE, first_of, float32_only, package_has

PROVIDER = "mx_driving"


def supports(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> str | None:
    """The documented limits; a bias is added afterwards, so it is none of them."""
    return first_of(
        _limits(input, weight, groups, deform_groups),
        float32_only(PROVIDER, input=input, offset=offset, weight=weight, mask=mask, bias=bias),
    )


def supports_backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> str | None:
    """As :func:`supports`, with the gradient."""
    return first_of(
        _limits(input, weight, groups, deform_groups),
        float32_only(PROVIDER, grad=grad, input=input, offset=offset, weight=weight, mask=mask),
    )


def forward(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    """Output (N,Co,Ho,Wo); see :func:`portbev.ops.deform_conv2d`."""
    output = _call(input, offset, weight, mask, (stride, padding, dilation, groups, deform_groups))
    return output if bias is None else output + bias.view(1, -1, 1, 1)


def backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    deform_groups: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of input, offset, weight and mask (empty without mask)."""
    tail = (stride, padding, dilation, groups, deform_groups)
    if mask is None:
        found = gradients(lambda x, o, w: _call(x, o, w, None, tail), (input, offset, weight), grad)
        return found[0], found[1], found[2], input.new_empty(0)
    found = gradients(lambda x, o, w, m: _call(x, o, w, m, tail), (input, offset, weight, mask), grad)
    return found[0], found[1], found[2], found[3]


def _limits(input: Tensor, weight: Tensor, groups: int, deform_groups: int) -> str | None:
    channels, (height, width) = input.shape[1], weight.shape[2:]
    if deform_groups != 1:
        return f"deform_groups is {deform_groups}; {PROVIDER} takes 1 only"
    if groups != 1:
        return f"groups is {groups}; {PROVIDER} documents 1 only"
    if channels % 64:
        return f"{channels} input channels; {PROVIDER} needs a multiple of 64"
    if height != width:
        return f"kernel {height}x{width}; {PROVIDER} documents square kernels only"
    if 0 in input.shape:
        return "empty input"
    return None


def _call(input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, tail: tuple[Any, ...]) -> Tensor:
    import mx_driving

    stride, padding, dilation, groups, deform_groups = tail
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
