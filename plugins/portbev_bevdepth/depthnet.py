"""DepthNet: depth and context from image features and camera parameters. R is the number of images, B * N."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from portbev.nn.dilated_conv import DilatedConv2d
from portbev.nn.dropout import Dropout
from portbev.nn.resnet import BasicBlock
from portbev.ops import deform_conv2d
from portbev_bevdepth.config import DepthNetSection

CAMERA_PARAMETERS = 27
"""Length of :func:`portbev_bevdepth.geometry.camera_vector`."""


class DepthNet(nn.Module):
    """BEVDepth's camera-aware depth estimation (Li et al., AAAI 2023, section 4.2).

    Args:
        in_channels: channels of the image features.
        context_channels: channels of the context.
        depth_bins: channels of the depth.
    """

    def __init__(self, section: DepthNetSection, in_channels: int, context_channels: int, depth_bins: int) -> None:
        super().__init__()
        mid = section.mid_channels
        self.reduce_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid, 3, padding=1), nn.BatchNorm2d(mid), nn.ReLU(inplace=True)
        )
        self.context_conv = nn.Conv2d(mid, context_channels, 1)
        self.bn = nn.BatchNorm1d(CAMERA_PARAMETERS)
        self.depth_mlp = Mlp(CAMERA_PARAMETERS, mid)
        self.depth_se = SELayer(mid)
        self.context_mlp = Mlp(CAMERA_PARAMETERS, mid)
        self.context_se = SELayer(mid)
        layers: list[nn.Module] = [BasicBlock(mid, mid) for _ in range(section.blocks)]
        if section.use_aspp:
            layers.append(ASPP(mid, section.dropout))
        if section.use_dcn:
            layers.append(DeformConv(mid, section.dcn_groups))
        layers.append(nn.Conv2d(mid, depth_bins, 1))
        self.depth_conv = nn.Sequential(*layers)

    def forward(self, x: Tensor, camera: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B*N,Ci,H,W) and camera vectors (B*N,27) to depth logits (B*N,D,H,W) and context (B*N,C,H,W)."""
        camera = self.bn(camera)
        x = self.reduce_conv(x)
        context = self.context_conv(self.context_se(x, self.context_mlp(camera)))
        depth = self.depth_conv(self.depth_se(x, self.depth_mlp(camera)))
        return depth, context


class Mlp(nn.Module):
    """Two linear layers with ReLU between them."""

    def __init__(self, in_features: int, features: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_features, features)
        self.fc2 = nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        """(R,Fi) to (R,F)."""
        return self.fc2(functional.relu(self.fc1(x)))


class SELayer(nn.Module):
    """Squeeze-and-excitation whose gate is computed from a given vector, not from the map's mean."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, channels, 1)
        self.conv_expand = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """(R,C,H,W) and (R,C) to (R,C,H,W)."""
        gate = self.conv_expand(functional.relu(self.conv_reduce(vector[..., None, None])))
        return x * torch.sigmoid(gate)


class ASPPBranch(nn.Module):
    """Dilated convolution, normalisation, ReLU."""

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        padding = dilation if kernel_size == 3 else 0
        self.atrous_conv = DilatedConv2d(channels, channels, kernel_size, 1, padding, dilation, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(R,C,H,W) to (R,C,H,W)."""
        return functional.relu(self.bn(self.atrous_conv(x)), inplace=True)


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., 2017) as in BEVDepth: dilations 1, 6, 12, 18 and a pooled branch.

    As in the original, the pooled branch's normalisation has one value per image and channel for its statistics.
    """

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.aspp1 = ASPPBranch(channels, 1, 1)
        self.aspp2 = ASPPBranch(channels, 3, 6)
        self.aspp3 = ASPPBranch(channels, 3, 12)
        self.aspp4 = ASPPBranch(channels, 3, 18)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d((1, 1)),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d(5 * channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.dropout = Dropout(dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(R,C,H,W) to (R,C,H,W)."""
        maps = torch.cat([self.aspp1(x), self.aspp2(x), self.aspp3(x), self.aspp4(x)], dim=1)
        # The pooled branch is constant over the map: convolve one pixel of it and broadcast the result.
        local, pooled = self.conv1.weight.split([maps.shape[1], x.shape[1]], dim=1)
        out = functional.conv2d(maps, local) + functional.conv2d(self.global_avg_pool(x), pooled)
        return self.dropout(functional.relu(self.bn1(out), inplace=True))


class DeformConv(nn.Module):
    """Deformable 3x3 convolution (Dai et al., ICCV 2017) without bias, with one deformation group.

    ``conv_offset``, whose initial weights are zero, predicts (dy, dx) of each tap in pixels. Keys as in mmcv's
    DeformConv2dPack.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(channels, channels // groups, 3, 3))
        self.conv_offset = nn.Conv2d(channels, 18, 3, padding=1)
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")
        for parameter in self.conv_offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """(R,C,H,W) to (R,C,H,W)."""
        return deform_conv2d(x, self.conv_offset(x).to(x.dtype), self.weight, padding=1, groups=self.groups)
