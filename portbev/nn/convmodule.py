"""Convolution, batch normalisation and ReLU as one module."""

from __future__ import annotations

from torch import Tensor, nn


class ConvModule(nn.Module):
    """Conv2d without bias, BatchNorm2d and ReLU.

    State keys ``conv.weight`` and ``bn.*``, as in OpenMMLab's ConvModule. The convolution's initial weights are Kaiming
    normal (fan out, ReLU).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.activate = nn.ReLU(inplace=True)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,Co,H',W')."""
        return self.activate(self.bn(self.conv(x)))
