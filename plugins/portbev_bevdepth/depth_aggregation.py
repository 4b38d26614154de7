"""BEVDepth's depth aggregation: lifted features are smoothed along depth and width.

R is the number of images, B * N.
"""

from __future__ import annotations

from torch import Tensor, nn


class DepthAggregation(nn.Module):
    """Convolutions over width and depth, in float32; each row of an image is a map of its own.

    "Depth refinement" in BEVDepth (Li et al., AAAI 2023), section 4.3. Every layer keeps the number of channels.
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
    """Outer product of depth (R,D,H,W) and context (R,C,H,W), with one map for each image row: (R*H,C,W,D)."""
    rows = depth.permute(0, 2, 3, 1)[:, :, None] * context.permute(0, 2, 1, 3)[..., None]
    return rows.flatten(0, 1)


def rows_to_points(rows: Tensor, height: int) -> Tensor:
    """Maps of image rows (R*H,C,W,D) as features of frustum points, in the order of the voxel indices: (R,D,H,W,C)."""
    return rows.unflatten(0, (-1, height)).permute(0, 4, 1, 3, 2)


def _conv_norm_relu(channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
