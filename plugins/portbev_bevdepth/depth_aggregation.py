"""Smoothing of the lifted features along depth and width (BEVDepth's DA). May import: torch."""

from __future__ import annotations

from torch import Tensor, nn


class DepthAggregation(nn.Module):
    """Convolve the outer product depth x context over (width, depth), row by row of the image.

    BEVDepth (AAAI 2023), section 4.3: "depth refinement". Every layer keeps the number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce_conv = nn.Sequential(*_conv_norm_relu(channels))
        self.conv = nn.Sequential(*_conv_norm_relu(channels), *_conv_norm_relu(channels))
        self.out_conv = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, depth: Tensor, context: Tensor) -> Tensor:
        """Depth (R,D,H,W) and context (R,C,H,W) to point features (R,D,H,W,C)."""
        rows = depth.permute(0, 2, 3, 1)[:, :, None] * context.permute(0, 2, 1, 3)[..., None]  # (R,H,C,W,D)
        x = self.reduce_conv(rows.flatten(0, 1))
        x = self.out_conv(self.conv(x) + x)
        return x.unflatten(0, rows.shape[:2]).permute(0, 4, 1, 3, 2)


def _conv_norm_relu(channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
