"""``deform_conv2d`` by torch_npu.

``npu_deformable_conv2d(input, weight, offset, bias=None, kernel_size, stride, padding, dilation, groups,
deformable_groups, modulated) -> (output, offset_output)`` and its backward ``npu_deformable_conv2dbk``. float32 only.
``offset`` is cat([x offsets, y offsets, mask]) on channels where the operator's own is (dy, dx) per tap; kernel_size is
[kW, kH], stride [1, 1, s, s], padding [p] * 4. Not run on a device.

The backward wants the forward's second output. A backward operator sees the forward's arguments alone, so the forward
runs once more: keeping the second output (as large as the unfolded input) by the side would outlive evaluation passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev_npu.kernels.limits import first_of, float32_only, package_has

PROVIDER = "torch_npu"


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
    """float32, and the same stride, padding and dilation along both axes: the layout is documented for those."""
    return first_of(
        _limits(input, stride, padding, dilation),
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
        _limits(input, stride, padding, dilation),
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
    import torch_npu

    together = pack_offset(offset, mask, weight)
    tail = vendor_tail(weight, stride, padding, dilation, groups, deform_groups)
    output: Tensor = torch_npu.npu_deformable_conv2d(input, weight, together, bias, **tail)[0]
    return output


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
    import torch_npu

    together = pack_offset(offset, mask, weight)
    tail = vendor_tail(weight, stride, padding, dilation, groups, deform_groups)
    sampled = torch_npu.npu_deformable_conv2d(input, weight, together, None, **tail)[1]
    grad_input, grad_weight, grad_together, _ = torch_npu.npu_deformable_conv2dbk(
        input, grad, sampled, weight, together, **tail
    )
    grad_offset, grad_mask = unpack_offset(grad_together)
    return grad_input, grad_offset, grad_weight, grad.new_empty(0) if mask is None else grad_mask


def pack_offset(offset: Tensor, mask: Tensor | None, weight: Tensor) -> Tensor:
    """The vendor's layout: ``offset`` (N, 2*G*K, H, W) with (dy, dx) per tap -> (N, 3*G*K, H, W) all x, all y, mask.

    Without a mask there is one of ones: the operator without modulation is the one with it, times one.
    """
    down, right = offset[:, 0::2], offset[:, 1::2]
    return torch.cat([right, down, torch.ones_like(down) if mask is None else mask], dim=1)


def unpack_offset(together: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of :func:`pack_offset`: offsets with (dy, dx) per tap, and mask."""
    right, down, mask = together.chunk(3, dim=1)
    return torch.stack([down, right], dim=2).flatten(1, 2), mask.contiguous()


def vendor_tail(
    weight: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int, deform: int
) -> dict[str, Any]:
    """The vendor's keyword arguments in its orders."""
    height, width = weight.shape[2:]
    return {
        "kernel_size": [width, height],
        "stride": [1, 1, stride[0], stride[1]],
        "padding": [padding[0], padding[0], padding[1], padding[1]],
        "dilation": [1, 1, dilation[0], dilation[1]],
        "groups": groups,
        "deformable_groups": deform,
        "modulated": True,
    }


def _limits(input: Tensor, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> str | None:
    for name, (down, right) in {"stride": stride, "padding": padding, "dilation": dilation}.items():
        if down != right:
            return f"{name} ({down}, {right}) differs by axis; {PROVIDER} documents equal ones only"
    return "empty input" if 0 in input.shape else None


KERNEL = Kernel(
    operator="deform_conv2d",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    backward=backward,
    supports=supports,
    supports_backward=supports_backward,
    priority=20,
    probe=package_has(
        PROVIDER,
        ("npu_deformable_conv2d", "npu_deformable_conv2dbk"),
        "pip install torch-npu for this torch",
    ),
)
