"""Deformable convolutions that predict their own offsets."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from portbev.ops import deform_conv2d


class ModulatedDeformConv2d(nn.Module):
    """Deformable convolution version 2 (Zhu et al., CVPR 2019) with one deformation group and no bias.

    A convolution of the same geometry, with zero initial weights, predicts 3 * k * k channels: the first two thirds are
    the offsets (dy, dx) of each tap in pixels, and the sigmoid of the last third is the modulation of each tap.
    Keys ``weight``, ``conv_offset.weight``, ``conv_offset.bias`` as in mmcv's ModulatedDeformConv2dPack.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        self.conv_offset = nn.Conv2d(in_channels, 3 * kernel_size**2, kernel_size, stride, padding)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights uniform within 1 / sqrt(fan in). Zero offsets, and a modulation of 1/2 for each tap."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,Co,H',W')."""
        out = self.conv_offset(x).to(x.dtype)
        taps = out.shape[1] // 3
        offset, mask = out[:, : 2 * taps], out[:, 2 * taps :].sigmoid()
        return deform_conv2d(x, offset, self.weight, mask=mask, stride=self.stride, padding=self.padding)
