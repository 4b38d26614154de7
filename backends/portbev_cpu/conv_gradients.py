"""Weight gradients of convolutions in the ways that suit CPUs without AVX-512."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

LARGE = 1_000_000_000
"""Multiply-adds of a convolution from which on the other ways pay for the copies they make."""

MANY_CHANNELS = 256
"""Of the input, from which on a matrix product per tap is faster than the library on contiguous copies."""

Pair = tuple[int, int]
_convolution = torch.ops.aten.convolution.default
_backward = torch.ops.aten.convolution_backward.default


class Avx2Conv2d(nn.Conv2d):
    """A convolution with another way to its weight gradient, for large channels-last maps; the rest is torch's.

    On a CPU with AVX2 but no AVX-512, oneDNN takes as long for the weight gradient of a channels-last 3x3 convolution
    as for its output and input gradient together. Here it is a matrix product per tap where those are large (stride 1,
    many channels), and else the library's own on contiguous copies. Equal up to rounding, on any device; under autocast
    and where the map is small or contiguous, torch's way is taken.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,Co,H',W')."""
        if not self._other_way(input):
            return super().forward(input)
        return _Convolution.apply(input, self.weight, self.bias, _pairs(self))

    def _other_way(self, input: Tensor) -> bool:
        return (
            self.weight.requires_grad
            and torch.is_grad_enabled()
            and not torch.is_autocast_enabled(input.device.type)
            and (self.groups, self.padding_mode, self.transposed) == (1, "zeros", False)
            and not isinstance(self.padding, str)
            and _is_channels_last(input)
            and self.weight.numel() * input[:, 0].numel() >= LARGE * self.stride[0] * self.stride[1]
        )


def use_avx2_weight_gradients(model: nn.Module) -> bool:
    """Make every plain convolution with more than one tap an :class:`Avx2Conv2d`; parameters and keys stay.

    Returns:
        Whether the model has any such convolution.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and max(module.kernel_size) > 1:
            module.__class__ = Avx2Conv2d
    return any(isinstance(module, Avx2Conv2d) for module in model.modules())


def use_torch_weight_gradients(model: nn.Module) -> None:
    """Make every :class:`Avx2Conv2d` a plain convolution again."""
    for module in model.modules():
        if type(module) is Avx2Conv2d:
            module.__class__ = nn.Conv2d  # type: ignore[assignment]


def weight_gradient_by_products(grad: Tensor, input: Tensor, kernel: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """Weight gradient of a convolution with stride 1 as one matrix product per tap.

    Both maps are laid on one grid with zeros around: then a tap is a fixed distance between rows of the two.

    Args:
        grad: (N,Co,H',W') of the output. input: (N,Ci,H,W).

    Returns:
        (Co,Ci,*kernel).
    """
    (ky, kx), (py, px), (dy, dx) = kernel, padding, dilation
    channels_in, channels_out = input.shape[1], grad.shape[1]
    framed = functional.pad(input.permute(0, 2, 3, 1), (0, 0, px, px, py, py))
    width = framed.shape[2]
    spread = functional.pad(grad.permute(0, 2, 3, 1), (0, 0, 0, dx * (kx - 1), 0, dy * (ky - 1)))
    rows = framed.reshape(-1, channels_in)
    count = len(rows) - dy * (ky - 1) * width - dx * (kx - 1)  # the last rows of the gradient are all zero
    by_channel = spread.reshape(-1, channels_out)[:count].t()
    taps = input.new_empty(ky, kx, channels_out, channels_in)
    for y in range(ky):
        for x in range(kx):
            start = y * dy * width + x * dx
            torch.mm(by_channel, rows[start : start + count], out=taps[y, x])
    return taps.permute(2, 3, 0, 1)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, pairs: tuple[Pair, Pair, Pair]) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.pairs, ctx.bias_shape = pairs, None if bias is None else list(bias.shape)
        return _convolution(input, weight, bias, *map(list, pairs), False, [0, 0], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None]:
        input, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.pairs
        options = (ctx.bias_shape, *map(list, ctx.pairs), False, [0, 0], 1)
        by_products = stride == (1, 1) and weight.shape[1] >= MANY_CHANNELS
        for_bias = ctx.bias_shape is not None
        to_input = None
        if ctx.needs_input_grad[0]:
            to_input = _backward(grad, input, weight, *options, [True, False, False])[0]
        if by_products:
            to_weight = weight_gradient_by_products(grad, input, tuple(weight.shape[2:]), padding, dilation)
            return to_input, to_weight, grad.sum((0, 2, 3)) if for_bias else None, None
        plain = grad.contiguous(), input.contiguous()
        _, to_weight, to_bias = _backward(*plain, weight, *options, [False, True, for_bias])
        return to_input, to_weight, to_bias, None


def _pairs(conv: nn.Conv2d) -> tuple[Pair, Pair, Pair]:
    """Stride, padding, dilation."""
    (sy, sx), (dy, dx) = conv.stride, conv.dilation
    py, px = (int(p) for p in conv.padding)
    return (sy, sx), (py, px), (dy, dx)


def _is_channels_last(x: Tensor) -> bool:
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
