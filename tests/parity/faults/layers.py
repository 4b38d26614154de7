"""Faults of layers, planted into a built model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def replaced(name: str, make: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]) -> Callable[..., None]:
    """Plants ``make(module, forward)`` as the forward of the module ``name``."""

    def plant(model: nn.Module) -> None:
        module: Any = model.get_submodule(name)
        module.forward = make(module, module.forward)

    return plant


class _Rounded(torch.autograd.Function):
    """Values, and gradients on their way back, with the last bits of the mantissa gone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, round_to: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.round_to = round_to
        return round_to(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.round_to(grads[0]), None


def rounded(x: Tensor, round_to: Callable[[Tensor], Tensor]) -> Tensor:
    """``x`` rounded, and its gradient."""
    result: Tensor = _Rounded.apply(x, round_to)
    return result


def to_bf16(x: Tensor) -> Tensor:
    """To 8 bits of mantissa, to nearest."""
    return x.bfloat16().float()


def to_tf32(x: Tensor) -> Tensor:
    """To the 11 bits of mantissa that tensor cores read, to nearest."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def convolution_in(round_to: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """A convolution whose inputs are rounded, and whose sums are not."""

    def make(module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
        def convolved(x: Tensor) -> Tensor:
            return module._conv_forward(rounded(x, round_to), rounded(module.weight, round_to), module.bias)

        return convolved

    return make


def other_epsilon(name: str, eps: float) -> Callable[[nn.Module], None]:
    """A normalisation whose epsilon is a library's default and not the model's."""

    def plant(model: nn.Module) -> None:
        module: Any = model.get_submodule(name)
        module.eps = eps

    return plant


def statistics_stay(module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    """A batch normalisation that does not bring its running statistics up to date."""

    def stale(x: Tensor) -> Tensor:
        if not module.training:
            out: Tensor = forward(x)
            return out
        return functional.batch_norm(x, None, None, module.weight, module.bias, True, 0.0, module.eps)

    return stale


def anchors_upside_down(module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    """Camera attention that takes the points of a pillar from top to bottom."""

    def upside_down(query: Tensor, features: Tensor, shapes: Any, pairs: Any) -> Any:
        turned = copy.copy(pairs)
        turned.reference = pairs.reference.flip(1)
        return forward(query, features, shapes, turned)

    return upside_down
