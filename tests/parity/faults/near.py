"""Faults that are hard to place: near the band, between operators, or in what a step hardly shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from faults.layers import rounded


def to_fp16(x: Tensor) -> Tensor:
    """To 11 bits of mantissa, to nearest."""
    return x.half().float()


def other_setting(name: str, **values: Any) -> Callable[[nn.Module], None]:
    """A module that is set up otherwise."""

    def plant(model: nn.Module) -> None:
        for key, value in values.items():
            setattr(model.get_submodule(name), key, value)

    return plant


def leaks(module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    """A ReLU that lets a little of what is negative through."""
    return lambda x: functional.leaky_relu(x, 0.01)


def results_in(round_to: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """A layer whose results, and their gradients, are rounded."""
    return lambda module, forward: lambda x: rounded(forward(x), round_to)


def times(factor: float) -> Callable[..., Any]:
    """A layer whose results are a multiple of what they should be."""
    return lambda module, forward: lambda x: forward(x) * factor


def sums_in_fp16(module: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    """A product of matrices whose partial sums are kept in fp16."""

    def summed(x: Tensor) -> Tensor:
        total = torch.zeros(())
        for part, weight in zip(x.split(4, -1), module.weight.split(4, -1), strict=True):
            total = rounded(total + functional.linear(part, weight), to_fp16)
        return total + module.bias

    return summed


class _Turned(torch.autograd.Function):
    """The same, whose gradient is changed on its way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.change(grads[0]), None


def gradient(change: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """A layer that changes the gradient of its results."""
    return lambda module, forward: lambda x: _Turned.apply(forward(x), change)


@contextmanager
def softmax_in_half() -> Iterator[None]:
    """Exponentials and their sum in fp16, without the largest taken off."""

    def softmax(x: Tensor, dim: int) -> Tensor:
        powers = x.half().exp()
        return (powers / powers.sum(dim, keepdim=True)).float()

    with mock.patch.object(Tensor, "softmax", softmax):
        yield


@contextmanager
def a_parameter_left_out() -> Iterator[None]:
    """The optimizer is not given one of the parameters."""
    from portbev.train import optim

    right = optim.parameter_groups

    def wrong(*arguments: Any) -> list[dict[str, Any]]:
        groups: list[dict[str, Any]] = right(*arguments)
        del groups[0]["params"][3]
        return groups

    with mock.patch.object(optim, "parameter_groups", wrong):
        yield


@contextmanager
def no_clipping() -> Iterator[None]:
    """The gradient is not clipped."""
    with mock.patch("torch.nn.utils.clip_grads_with_norm_", return_value=None):
        yield


@contextmanager
def other_average() -> Iterator[None]:
    """The weights' moving average forgets sooner."""
    from portbev.train.ema import Ema

    right = Ema.__init__

    def wrong(self: Ema, *arguments: Any) -> None:
        right(self, *arguments)
        self.decay = 0.9

    with mock.patch.object(Ema, "__init__", wrong):
        yield


@contextmanager
def no_history() -> Iterator[None]:
    """The frames before the last are not looked at."""
    from portbev_bevformer.model import BEVFormer

    with mock.patch.object(BEVFormer, "_previous_bev", lambda model, queue: (None, [False] * len(queue["tokens"]))):
        yield
