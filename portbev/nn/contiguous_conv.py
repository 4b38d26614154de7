"""Strided 1x1 convolutions of few channels, kept out of the channels-last format."""

from __future__ import annotations

from torch import Tensor, nn

FEW_CHANNELS = 16
"""Input channels below which a strided 1x1 convolution is not computed in the channels-last format."""


class ContiguousConv2d(nn.Conv2d):
    """A convolution that computes in the contiguous format, whatever the format of its input.

    On CPUs with AVX-512 the gradient of a channels-last 1x1 convolution with a stride and fewer than 16 input channels
    writes past its memory (oneDNN in torch 2.13; seen for 7 to 15 channels). Elsewhere the copy costs little: such
    layers are small.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,Co,H',W')."""
        return super().forward(input.contiguous())


def keep_contiguous(model: nn.Module) -> None:
    """Make every plain strided 1x1 convolution of few channels in ``model`` a :class:`ContiguousConv2d`.

    Parameters, their names and their values stay. Doing it again changes nothing.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d and _is_at_risk(module):
            module.__class__ = ContiguousConv2d


def _is_at_risk(conv: nn.Conv2d) -> bool:
    return conv.in_channels < FEW_CHANNELS and max(conv.kernel_size) == 1 and max(conv.stride) > 1
