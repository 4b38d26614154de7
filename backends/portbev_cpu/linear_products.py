"""Matrix products of linear layers by oneDNN in place of the BLAS library that torch was built with.

On AMD processors MKL leaves AVX-512 alone, and oneDNN takes half its time. torch itself hands float32 products to
oneDNN only where they may be rounded.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LARGE = 1_000_000
"""Multiply-adds of a layer from which on it goes to oneDNN; below, setting a product up costs what it saves."""


class OneDnnLinear(nn.Linear):
    """A linear layer whose product, and the two of its gradients, are oneDNN's, in float32. Equal up to rounding.

    Small inputs, other dtypes and devices, autocast and compiled graphs take torch's way.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(...,Ci) to (...,Co)."""
        if not self._suits(input):
            return super().forward(input)
        out: Tensor = _Linear.apply(input.reshape(-1, input.shape[-1]), self.weight, self.bias)
        return out.view(*input.shape[:-1], self.out_features)

    def _suits(self, input: Tensor) -> bool:
        return (
            input.dtype == self.weight.dtype == torch.float32
            and input.device.type == self.weight.device.type == "cpu"
            and input.numel() * self.out_features >= LARGE
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )


def available() -> bool:
    """Whether this torch has oneDNN and the function by which it takes plain tensors."""
    return bool(torch.backends.mkldnn.is_available()) and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def use_onednn_products(model: nn.Module) -> bool:
    """Make every plain linear layer a :class:`OneDnnLinear`; parameters and keys stay.

    Returns:
        Whether the model has any such layer.
    """
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = OneDnnLinear
    return any(isinstance(module, OneDnnLinear) for module in model.modules())


def use_torch_products(model: nn.Module) -> None:
    """Make every :class:`OneDnnLinear` a plain linear layer again."""
    for module in model.modules():
        if type(module) is OneDnnLinear:
            module.__class__ = nn.Linear  # type: ignore[assignment]


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows`` (n,Ci) times ``weight`` (Co,Ci) transposed, plus ``bias`` (Co,): (n,Co). Any strides."""
    out: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return product(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        grad = grad.contiguous()
        to_rows, to_weight, to_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t()) if to_rows else None,
            product(grad.t(), rows.t()) if to_weight else None,
            grad.sum(0) if to_bias else None,
        )
