"""MatrixVT's view transformation by two matrices (Zhou et al., ICCV 2023). R is the number of images, B * N."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.lss import LSSFPN


class MatrixVT(LSSFPN):
    """The prime depth and the prime feature of each image, transformed to the bird's-eye view by ring and ray matrix.

    The buffer ``bev_anchors`` (Y,X,2) holds the cells' centres. It is part of official checkpoints and not used.
    """

    derived_buffers = (*LSSFPN.derived_buffers, "bev_anchors")

    def __init__(self, config: BevDepthConfig) -> None:
        super().__init__(config)
        self.register_buffer("bev_anchors", _bev_anchors(config))
        self.horiconv = HoriConv(config.context_channels, config.depth_net.mid_channels)
        self.depth_reducer = DepthReducer(config.context_channels)

    def to_bev(self, depth: Tensor, context: Tensor, places: Sequence[Tensor]) -> Tensor:
        """(B,C,Y,X) from depth (B*N,D,H,W) and context (B*N,C,H,W); ``places``: ring and ray matrix."""
        prime_depth = self.depth_reducer(context, depth)
        prime_feature = self.horiconv(context)
        ring, ray = (matrix.float() for matrix in places)
        batch = ring.shape[0]
        columns = prime_depth.unflatten(0, (batch, -1)).permute(0, 1, 3, 2).flatten(1, 2)  # (B,N*W,D)
        feature = prime_feature.unflatten(0, (batch, -1)).permute(0, 2, 1, 3).flatten(2)  # (B,C,N*W)
        bev = feature @ ((columns @ ring) * ray)
        x_cells, y_cells, _ = self.geometry.size
        return bev.unflatten(2, (y_cells, x_cells))


class DepthReducer(nn.Module):
    """Prime depth: depth averaged over the image height, with weights that are predicted from the context."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.vertical_weighter = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, context: Tensor, depth: Tensor) -> Tensor:
        """Context (R,C,H,W) and depth (R,D,H,W) to the prime depth (R,D,W)."""
        return (depth * self.vertical_weighter(context).softmax(dim=2)).sum(dim=2)


class HoriConv(nn.Module):
    """Prime feature: context reduced to one image row by a maximum, then refined by convolutions along the row."""

    def __init__(self, channels: int, mid_channels: int) -> None:
        super().__init__()
        self.merger = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.Sigmoid(), nn.Conv2d(channels, channels, 1))
        self.reduce_conv = nn.Sequential(*_row_conv(channels, mid_channels))
        self.conv1 = nn.Sequential(*_row_conv(mid_channels, mid_channels), *_row_conv(mid_channels, mid_channels))
        self.conv2 = nn.Sequential(*_row_conv(mid_channels, mid_channels), *_row_conv(mid_channels, mid_channels))
        self.out_conv = nn.Sequential(*_row_conv(mid_channels, channels, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        """Context (R,C,H,W) to the prime feature (R,C,W)."""
        x = self.reduce_conv(self.merger(x).amax(dim=2))
        x = self.conv1(x) + x
        x = self.conv2(x) + x
        return self.out_conv(x)


def _row_conv(in_channels: int, out_channels: int, bias: bool = False) -> list[nn.Module]:
    conv = nn.Conv1d(in_channels, out_channels, 3, padding=1, bias=bias)
    return [conv, nn.BatchNorm1d(out_channels), nn.ReLU(inplace=True)]


def _bev_anchors(config: BevDepthConfig) -> Tensor:
    """(Y,X,2) centres (x, y) of the cells in metres."""
    axes = []
    for (low, high, step), count in zip((config.x_bound, config.y_bound), config.bev_size, strict=True):
        axes.append(torch.linspace(low + step / 2, high - step / 2, count))
    y, x = torch.meshgrid(axes[1], axes[0], indexing="ij")
    return torch.stack([x, y], dim=-1)
