"""CenterPoint's head on bird's-eye-view features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portbev.nn.convmodule import ConvModule
from portbev.nn.map_format import BevPath
from portbev.nn.precision import full_precision
from portbev.nn.resnet import ResNet
from portbev.nn.secondfpn import SECONDFPN
from portbev_bevdepth.config import BevDepthConfig

BRANCHES = (("reg", 2), ("height", 1), ("dim", 3), ("rot", 2), ("vel", 2))
"""Branches of a task besides ``heatmap``, in the order of the box code, and their channels."""

FIXED_HEATMAP_BIAS = -2.19
TaskOutput = dict[str, Tensor]


class BEVDepthHead(BevPath, nn.Module):
    """Trunk, neck, shared convolution and six branches per task (Yin et al., CVPR 2021; BEVDepth's BEVDepthHead).

    It computes in float32 also under mixed precision.

    Quirk, kept under ``quirks: official``: the last bias of the heatmaps keeps torch's default initial value, because
    the original never calls the head's initialisation. ``fixed`` sets it to -2.19 (a prior of 0.1), and
    ``head.heatmap_bias`` overrides both.
    """

    def __init__(self, config: BevDepthConfig) -> None:
        super().__init__()
        section = config.head
        channels = config.context_channels * config.key_frames
        self.shared_conv = ConvModule(sum(section.neck_channels), section.shared_channels, 3, padding=1)
        bias = section.heatmap_bias
        if bias is None and config.quirks == "fixed":
            bias = FIXED_HEATMAP_BIAS
        self.task_heads = nn.ModuleList(
            TaskHead(section.shared_channels, section.branch_channels, len(task), bias) for task in section.tasks
        )
        self.trunk = ResNet(
            section.trunk_depth,
            in_channels=channels,
            base_channels=section.trunk_channels,
            strides=section.trunk_strides,
            max_pool=False,
        )
        upsample, total_stride = [1], 2  # the trunk's stem halves the size
        for stride in section.trunk_strides:
            total_stride *= stride
            upsample.append(total_stride)
        self.neck = SECONDFPN([channels, *self.trunk.out_channels], section.neck_channels, upsample)

    def forward(self, bev: Tensor) -> list[TaskOutput]:
        """BEV features (B,C,Y,X) to one dict per task: ``reg height dim rot vel heatmap``, each (B,channels,Y,X)."""
        with full_precision(bev.device):
            bev = self.arrange(bev.float())
            x = self.shared_conv(self.neck([bev, *self.trunk(bev)]))
            return [head(x) for head in self.task_heads]


class TaskHead(nn.Module):
    """The branches of one task; each is a ConvModule and a 3x3 convolution."""

    def __init__(self, in_channels: int, channels: int, classes: int, heatmap_bias: float | None) -> None:
        super().__init__()
        for name, outputs in (*BRANCHES, ("heatmap", classes)):
            last = nn.Conv2d(channels, outputs, 3, padding=1)
            if name == "heatmap" and heatmap_bias is not None:
                assert last.bias is not None
                nn.init.constant_(last.bias, heatmap_bias)
            self.add_module(name, nn.Sequential(ConvModule(in_channels, channels, 3, padding=1), last))

    def forward(self, x: Tensor) -> TaskOutput:
        """(B,Ci,Y,X) to the raw outputs of the branches, by name."""
        return {name: branch(x) for name, branch in self.named_children()}


def box_code(output: TaskOutput) -> Tensor:
    """The outputs of the box branches, concatenated: (B,10,Y,X) [reg height dim rot vel]."""
    return torch.cat([output[name] for name, _ in BRANCHES], dim=1)
