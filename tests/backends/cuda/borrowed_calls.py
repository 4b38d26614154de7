"""Calls for the kernels that are borrowed from other libraries, and what the references say of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall


def convolution(*, mask: bool, bias: bool = True, dtype: torch.dtype = torch.float32) -> DeformConv2dCall:
    """Groups, deform groups and sizes that differ along the axes; some points are nowhere or far away."""
    rng = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng).to(dtype)

    offset = normal(2, 24, 5, 4)
    offset.view(-1)[::17] = float("nan")
    offset.view(-1)[3::19] = float("inf")
    offset.view(-1)[5::23] = -3e4
    weights = normal(8, 6, 3, 2), normal(2, 12, 5, 4).sigmoid() if mask else None, normal(8) if bias else None
    return DeformConv2dCall(normal(2, 12, 6, 7), offset, *weights, [1, 2], [1, 0], [1, 1], 2, 2)


def attention(counts: list[int], dtype: torch.dtype = torch.float32) -> MsDeformAttnCall:
    rng = torch.Generator().manual_seed(1)
    rows, shapes = sum(counts), [4, 5, 2, 3]
    locations = torch.rand(rows, 2, 2, 3, 2, generator=rng) * 1.4 - 0.2
    locations.view(-1)[::13] = float("nan")
    locations.view(-1)[3::17] = 1e30
    value, weights = torch.randn(len(counts), 26, 2, 4, generator=rng), torch.rand(rows, 2, 2, 3, generator=rng)
    return MsDeformAttnCall(value.to(dtype), locations, weights, torch.tensor(counts), shapes)


def doubled(call: Any) -> Any:
    """The call in float64."""
    return type(call)(*(t.double() if isinstance(t, Tensor) and t.is_floating_point() else t for t in call))


def agrees(kernel: Kernel, call: Any) -> None:
    """Results and gradients of ``kernel`` are those of the reference, in the dtypes and shapes of the operator."""
    reference = KERNELS.references[kernel.operator]
    assert kernel.refusal(call) is None
    out = kernel.run(call)
    expected = reference.run(doubled(call))
    assert out.dtype == call[0].dtype and out.is_contiguous()
    torch.testing.assert_close(out, expected.to(out.dtype))
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)
    call = call._replace(bias=None) if "bias" in call._fields else call
    for found, wanted, like in zip(
        kernel.run(call, grad), reference.run(doubled(call), grad.double()), call, strict=False
    ):
        assert found.is_contiguous()
        torch.testing.assert_close(found, wanted.to(found.dtype))
        assert like is None or isinstance(like, list) or found.dtype == like.dtype
