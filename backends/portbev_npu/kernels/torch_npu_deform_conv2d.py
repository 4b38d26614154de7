"""``deform_conv2d`` by torch_npu.

``npu_deformable_conv2d(input, weight, offset, bias, kernel_size, stride, padding, dilation, groups,
deformable_groups, modulated) -> (output, offset_output)`` and its backward ``npu_deformable_conv2dbk``. float32 only,
to which half precision is taken here and rounded once at the end.
``offset`` is cat([x offsets, y offsets, mask]) on channels where the operator's own is (dy, dx) per tap; kernel_size is
[kH, kW], stride [1, 1, s, s], padding [p] * 4. Not run on a device.

The backward wants the forward's second output. A backward operator sees the forward's arguments alone, so the forward
runs once more: keeping the second output (as large as the unfolded input) by the side would outlive evaluation passes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.precision import widened
from portbev_npu.kernels.limits import first_of, float32_or_half, floating, package_has, widened_call

PROVIDER = "torch_npu"


def supports(call: DeformConv2dCall) -> str | None:
    """The same stride, padding and dilation along both axes: the layout is documented for those."""
    return first_of(_limits(call), float32_or_half(PROVIDER, **floating(call)))


def supports_backward(grad_out: Tensor, call: DeformConv2dCall) -> str | None:
    """As :func:`supports`, with the gradient."""
    return first_of(_limits(call), float32_or_half(PROVIDER, grad=grad_out, **floating(call)))


def forward(call: DeformConv2dCall) -> Tensor:
    """Output (N,Co,Ho,Wo); see :func:`portbev.ops.deform_conv2d`."""
    import torch_npu

    wide = widened_call(call)
    together = pack_offset(wide.offset, wide.mask)
    output: Tensor = torch_npu.npu_deformable_conv2d(
        wide.input, wide.weight, together, wide.bias, **vendor_options(call)
    )[0]
    return output.to(call.input.dtype)


def backward(grad_out: Tensor, call: DeformConv2dCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of input, offset, weight and mask (empty without mask)."""
    import torch_npu

    wide, options, dtype = widened_call(call), vendor_options(call), call.input.dtype
    together = pack_offset(wide.offset, wide.mask)
    sampled = torch_npu.npu_deformable_conv2d(wide.input, wide.weight, together, None, **options)[1]
    grad_input, grad_weight, grad_together, _ = torch_npu.npu_deformable_conv2dbk(
        wide.input, widened(grad_out), sampled, wide.weight, together, **options
    )
    grad_offset, grad_mask = unpack_offset(grad_together.to(dtype))
    grad_mask = grad_out.new_empty(0) if call.mask is None else grad_mask
    return grad_input.to(dtype), grad_offset, grad_weight.to(dtype), grad_mask


def pack_offset(offset: Tensor, mask: Tensor | None) -> Tensor:
    """The vendor's layout: ``offset`` (N, 2*G*K, H, W) with (dy, dx) per tap -> (N, 3*G*K, H, W) all x, all y, mask.

    Without a mask there is one of ones: the operator without modulation is the one with it, times one.
    """
    down, right = offset[:, 0::2], offset[:, 1::2]
    return torch.cat([right, down, torch.ones_like(down) if mask is None else mask], dim=1)


def unpack_offset(together: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of :func:`pack_offset`: offsets with (dy, dx) per tap, and mask."""
    right, down, mask = together.chunk(3, dim=1)
    return torch.stack([down, right], dim=2).flatten(1, 2), mask.contiguous()


def vendor_options(call: DeformConv2dCall) -> dict[str, Any]:
    """The vendor's keyword arguments in its orders."""
    (height, width), stride, padding, dilation = call.weight.shape[2:], call.stride, call.padding, call.dilation
    return {
        "kernel_size": [height, width],
        "stride": [1, 1, stride[0], stride[1]],
        "padding": [padding[0], padding[0], padding[1], padding[1]],
        "dilation": [1, 1, dilation[0], dilation[1]],
        "groups": call.groups,
        "deformable_groups": call.deform_groups,
        "modulated": True,
    }


def _limits(call: DeformConv2dCall) -> str | None:
    for name, (down, right) in {"stride": call.stride, "padding": call.padding, "dilation": call.dilation}.items():
        if down != right:
            return f"{name} ({down}, {right}) differs by axis; {PROVIDER} documents equal ones only"
    return "empty input" if 0 in call.input.shape else None


KERNEL = Kernel(
    operator="deform_conv2d",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    backward=backward,
    supports=supports,
    supports_backward=supports_backward,
    priority=20,
    deterministic=False,  # nowhere documented; gradients of the input are scattered
    probe=package_has(
        PROVIDER,
        ("npu_deformable_conv2d", "npu_deformable_conv2dbk"),
        "pip install torch-npu for this torch",
    ),
)
