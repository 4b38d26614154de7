"""The neck of SECOND (Yan et al., Sensors 2018) as BEVDepth uses it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev.errors import ConfigError


class SECONDFPN(nn.Module):
    """Bring feature maps of several strides to one size and concatenate them.

    Every convolution has no bias and is followed by BatchNorm (eps 1e-3, momentum 0.01) and ReLU.
    Keys: ``deblocks.i.0`` (convolution) and ``deblocks.i.1`` (normalisation). Initial weights are Kaiming normal (fan
    out) in transposed convolutions, and torch's default in strided ones.

    Args:
        in_channels: channels of each input.
        out_channels: channels that each input contributes to the output.
        upsample_strides: scale factor of each input. A factor of at least 1 is a transposed convolution with
            kernel = stride = factor (also at 1, where its weight has the layout (in,out,1,1)). A factor below 1 is a
            convolution with kernel = stride = 1 / factor.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: Sequence[int], upsample_strides: Sequence[float]
    ) -> None:
        super().__init__()
        if not len(in_channels) == len(out_channels) == len(upsample_strides):
            raise ConfigError(
                f"a neck over {len(in_channels)} maps has {len(out_channels)} output widths and "
                f"{len(upsample_strides)} strides"
            )
        self.deblocks = nn.ModuleList(
            nn.Sequential(_resample(ci, co, s), nn.BatchNorm2d(co, eps=1e-3, momentum=0.01), nn.ReLU(inplace=True))
            for ci, co, s in zip(in_channels, out_channels, upsample_strides, strict=True)
        )
        self.out_channels = sum(out_channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N,Ci,Hi,Wi) to (N,sum Co,H,W)."""
        return torch.cat([block(x) for block, x in zip(self.deblocks, maps, strict=True)], dim=1)


def _resample(in_channels: int, out_channels: int, factor: float) -> nn.Module:
    if factor >= 1:
        stride = round(factor)
        layer = nn.ConvTranspose2d(in_channels, out_channels, stride, stride, bias=False)
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        return layer
    stride = round(1 / factor)
    return nn.Conv2d(in_channels, out_channels, stride, stride, bias=False)
