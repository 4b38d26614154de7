"""Deformable convolution, versions 1 and 2.

Sources: Dai et al., "Deformable Convolutional Networks" (ICCV 2017); Zhu et al., "Deformable ConvNets v2" (CVPR 2019);
layouts as in mmcv's ``deform_conv2d`` / ``modulated_deform_conv2d`` and torchvision's ``deform_conv2d``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from portbev.ops.bilinear import bilinear_shares
from portbev.ops.checks import need
from portbev.ops.operator import BackwardOperator, Operator
from portbev.ops.precision import autocast_to

Pair = tuple[int, int]


class DeformConv2dCall(NamedTuple):
    """The arguments of a call, as kernels get them; tensors are of one dtype, pairs are (along height, along width)."""

    input: Tensor  # (N, Ci, H, W)
    offset: Tensor  # (N, 2*deform_groups*kh*kw, Ho, Wo)
    weight: Tensor  # (Co, Ci/groups, kh, kw)
    mask: Tensor | None  # (N, deform_groups*kh*kw, Ho, Wo)
    bias: Tensor | None  # (Co,); None in a backward
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int
    deform_groups: int


def definition(call: DeformConv2dCall) -> Tensor:
    """Every tap samples the image at its place in the kernel plus its offset; the rest is a convolution."""
    input, offset, weight, mask, bias, stride, padding, dilation, groups, G = call
    (N, C, H, W), (Co, _, kh, kw), (Ho, Wo) = input.shape, weight.shape, offset.shape[2:]
    dy, dx = offset.reshape(N, G, kh, kw, 2, Ho, Wo).unbind(4)
    i, j, k, l = (torch.arange(n, dtype=offset.dtype, device=offset.device) for n in (Ho, Wo, kh, kw))  # noqa: E741
    y = (stride[0] * i - padding[0])[:, None] + (dilation[0] * k)[:, None, None, None] + dy  # (N, G, kh, kw, Ho, Wo)
    x = (stride[1] * j - padding[1]) + (dilation[1] * l)[:, None, None] + dx
    image, y, x = input.reshape(N, G, C // G, H, W), bilinear_shares(y, H), bilinear_shares(x, W)
    sampled = torch.einsum("ngchw,ngklijh,ngklijw->ngcklij", image, y, x)
    if mask is not None:
        sampled = sampled * mask.reshape(N, G, 1, kh, kw, Ho, Wo)
    sampled = sampled.reshape(N, groups, C // groups, kh, kw, Ho, Wo)
    out = torch.einsum("ngcklij,gockl->ngoij", sampled, weight.reshape(groups, Co // groups, C // groups, kh, kw))
    out = out.reshape(N, Co, Ho, Wo)
    return out if bias is None else out + bias[:, None, None]


DEFORM_CONV2D = Operator(
    "deform_conv2d",
    DeformConv2dCall,
    definition=definition,
    fake=lambda call: call.input.new_empty(call.input.shape[0], call.weight.shape[0], *call.offset.shape[2:]),
    gradient=BackwardOperator(
        differentiable=("input", "offset", "weight", "mask"),
        left_out={"bias": lambda grad, *kept: None},
        formulas={"bias": lambda grad: grad.sum((0, 2, 3))},
    ),
)


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """2-D convolution whose taps are moved by ``offset`` and, in version 2, weighted by ``mask``.

    Args:
        input: (N, Ci, H, W), float.
        offset: (N, 2*deform_groups*kh*kw, Ho, Wo) in input pixels. Channel ``2*(g*kh*kw + k)`` is dy and the next one
            dx of tap k (row-major) of deform group g. Group g moves channels ``[g*Ci/deform_groups, ...)``.
        weight: (Co, Ci/groups, kh, kw).
        bias: (Co,) or None.
        mask: (N, deform_groups*kh*kw, Ho, Wo) or None (version 1).

    Returns:
        (N, Co, Ho, Wo).

    Sampling is bilinear with pixel centres at integer coordinates (``align_corners`` does not arise); the image is
    surrounded by zeros, so a tap less than one pixel outside still takes its share of the border. A tap whose offset is
    NaN or infinite reads zero and sends no gradient.
    All arguments are taken to the dtype of ``input``, offsets too, as in mmcv; under autocast to the autocast dtype
    (float64 input excepted). float16 and bfloat16 are computed in float32 and rounded once, at the end. The reference
    is deterministic (on CUDA: where ``torch.use_deterministic_algorithms`` is on).

    Raises:
        ValueError: shapes, dtypes, strides or groups that do not fit together.
    """
    pairs = _pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation)
    _check(DeformConv2dCall(input, offset, weight, mask, bias, *pairs, groups, deform_groups))
    dtype = autocast_to(input)
    input, offset, weight = input.to(dtype), offset.to(dtype), weight.to(dtype)
    mask, bias = (None if t is None else t.to(dtype) for t in (mask, bias))
    out: Tensor = DEFORM_CONV2D(DeformConv2dCall(input, offset, weight, mask, bias, *pairs, groups, deform_groups))
    return out


def _pair(name: str, value: int | Pair) -> list[int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    least = 0 if name == "padding" else 1
    fits = len(pair) == 2 and min(pair) >= least
    need("deform_conv2d", fits, f"{name} is one or two integers of at least {least}, not {value}")
    return [int(size) for size in pair]


def _check(call: DeformConv2dCall) -> None:
    """Raise unless the arguments fit together; dtypes may still differ."""
    name, groups, dg = "deform_conv2d", call.groups, call.deform_groups
    # By name: torch.compile of torch 2.8 cannot take a slice of a named tuple.
    maps = {"input": call.input, "offset": call.offset, "weight": call.weight, "mask": call.mask, "bias": call.bias}
    for label, tensor in maps.items():
        if tensor is not None:
            need(name, tensor.is_floating_point(), f"{label} is float, not {tensor.dtype}")
            need(name, label == "bias" or tensor.dim() == 4, f"{label} has four dimensions")
    need(name, groups > 0, f"groups is at least 1, not {groups}")
    need(name, dg > 0, f"deform_groups is at least 1, not {dg}")
    (N, C, H, W), (Co, Cg, kh, kw) = call.input.shape, call.weight.shape
    fits = Cg * groups == C and Co % groups == 0
    shapes = f"input {tuple(call.input.shape)} and weight {tuple(call.weight.shape)}"
    need(name, fits, f"{shapes} do not fit {groups} groups")
    need(name, C % dg == 0, f"deform_groups: {C} channels do not divide into {dg}")
    Ho, Wo = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((H, W), call.padding, call.dilation, (kh, kw), call.stride, strict=True)
    )
    covered = f"a kernel of {(kh, kw)} does not fit input {(H, W)} with padding {call.padding}"
    need(name, min(Ho, Wo) > 0, f"weight: {covered}")
    for label, tensor, channels in (("offset", call.offset, 2 * dg * kh * kw), ("mask", call.mask, dg * kh * kw)):
        if tensor is not None:
            wanted = (N, channels, Ho, Wo)
            need(name, tuple(tensor.shape) == wanted, f"{label} is {tuple(tensor.shape)}, not {wanted}")
    need(name, call.bias is None or tuple(call.bias.shape) == (Co,), "bias has one value per output channel")
