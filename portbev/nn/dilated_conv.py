"""Dilated convolutions on maps that are smaller than their reach."""

from __future__ import annotations

from torch import Tensor, nn


class DilatedConv2d(nn.Conv2d):
    """A convolution without the taps of a 3x3 kernel that only ever read padding.

    If the dilation is at least the map's height (width), the kernel's outer rows (columns) lie in the padding for every
    output pixel. At 16 rows and dilation 18, two thirds of the work would be multiplications with zero. Parameters and
    keys are those of ``nn.Conv2d``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,Co,H',W')."""
        weight, padding = self.live_taps(input)
        return nn.functional.conv2d(input, weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def live_taps(self, input: Tensor) -> tuple[Tensor, list[int]]:
        """The weights that can reach into ``input`` (N,Ci,H,W), and the padding that goes with them."""
        weight, padding = self.weight, [int(p) for p in self.padding]
        for axis in (0, 1):
            if weight.shape[2 + axis] == 3 and self.dilation[axis] >= input.shape[2 + axis]:
                weight = weight.narrow(2 + axis, 1, 1)
                padding[axis] = 0
        return weight, padding
