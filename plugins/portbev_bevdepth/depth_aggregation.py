"""Smoothing of the lifted features along depth and width (BEVDepth's DA)."""

from __future__ import annotations

from torch import Tensor, nn


class DepthAggregation(nn.Module):
    """Convolutions over (width, depth) of lifted features, row by row of the image, in float32.

    BEVDepth (AAAI 2023), section 4.3: "depth refinement". Every layer keeps the number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce_conv = nn.Sequential(*_conv_norm_relu(channels))
        self.conv = nn.Sequential(*_conv_norm_relu(channels), *_conv_norm_relu(channels))
        self.out_conv = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, rows: Tensor) -> Tensor:
        """(R*H,C,W,D) to the same shape."""
        x = self.reduce_conv(rows)
        return self.out_conv(self.conv(x) + x)


def lift_rows(depth: Tensor, context: Tensor) -> Tensor:
    """Outer product of depth (R,D,H,W) and context (R,C,H,W) as one map per image row: (R*H,C,W,D)."""
    rows = depth.permute(0, 2, 3, 1)[:, :, None] * context.permute(0, 2, 1, 3)[..., None]
    return rows.flatten(0, 1)


def rows_to_points(rows: Tensor, height: int) -> Tensor:
    """(R*H,C,W,D) to the features of the points in the order of the voxel indices: (R,D,H,W,C)."""
    return rows.unflatten(0, (-1, height)).permute(0, 4, 1, 3, 2)


def _conv_norm_relu(channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
