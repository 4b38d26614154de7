"""Inputs of operators for the suites about the npu's kernels, and what serves and computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import KERNELS
from portbev.ops.deform_conv2d import DeformConv2dCall


def deform_inputs(
    channels: int = 64,
    groups: int = 1,
    deform: int = 1,
    kernel: tuple[int, int] = (3, 3),
    masked: bool = False,
    results: int = 8,
) -> list[Tensor | None]:
    """Input, offset, weight, mask, bias for padding 1 and stride 1."""
    torch.manual_seed(0)
    taps = deform * kernel[0] * kernel[1]
    height, width = 5 + 3 - kernel[0], 6 + 3 - kernel[1]
    return [
        torch.randn(2, channels, 5, 6),
        torch.randn(2, 2 * taps, height, width) * 2,
        torch.randn(results, channels // groups, *kernel) * 0.1,
        torch.rand(2, taps, height, width) if masked else None,
        torch.randn(results) if masked else None,
    ]


def deform_call(inputs: list[Any]) -> DeformConv2dCall:
    """The call of :func:`deform_inputs` with one group."""
    return DeformConv2dCall(*inputs, [1, 1], [1, 1], [1, 1], 1, 1)


def both(call: Callable[..., Tensor], inputs: list[Tensor | None]) -> list[list[Tensor]]:
    """Output and gradients on the cpu (reference) and on the npu (best provider)."""
    found = []
    for device in ("cpu", "npu"):
        placed = [
            None if t is None else t.to(device).detach().clone().requires_grad_(t.is_floating_point()) for t in inputs
        ]
        output = call(*placed)
        output.backward(torch.linspace(-1, 1, output.numel()).view(output.shape).to(device))
        gradients = [t.grad.cpu() for t in placed if t is not None and t.grad is not None]
        found.append([output.detach().cpu(), *gradients])
    return found


def served(operator: str, direction: str) -> set[str]:
    return {provider for (o, d, provider) in KERNELS.ledger.served if (o, d) == (operator, direction)}


def close(found: Tensor, exact: Tensor) -> None:
    scale = float(exact.abs().max()) if exact.numel() else 0.0
    torch.testing.assert_close(found.cpu().to(exact.dtype), exact, rtol=0, atol=1e-5 * scale)


def attention_inputs(images: int, rows: int, width: int = 8, heads: int = 2) -> list[Tensor]:
    """Values of maps 5x6 and 2x3, locations and weights of ``rows`` queries with 3 points, in rows."""
    draws = torch.Generator().manual_seed(0)
    locations = 0.5 + 0.4 * torch.randn(rows, heads, 2, 3, 2, generator=draws)
    value = torch.randn(images, 36, heads, width, generator=draws)
    return [value, locations, torch.randn(rows, heads, 2, 3, generator=draws)]


def on_npu(*tensors: Tensor | None) -> list[Any]:
    return [None if t is None else t.to("npu") for t in tensors]


MASKED = {"channels": 256, "masked": True, "results": 64}
