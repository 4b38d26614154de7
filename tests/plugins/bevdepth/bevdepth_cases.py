"""Small configurations and batches for the BEVDepth tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.head import BRANCHES
from portbev_nuscenes.batches import SweepBatch

# Widths are multiples of 8: with others, oneDNN's backward of a strided 1x1 convolution over channels-last tensors
# writes out of bounds on CPUs without AVX-512 (torch 2.13).
SMALL: dict[str, Any] = {
    "final_size": (64, 96),
    "x_bound": (-51.2, 51.2, 3.2),
    "y_bound": (-51.2, 51.2, 3.2),
    "d_bound": (2.0, 58.0, 8.0),
    "context_channels": 8,
    "image_backbone": {"depth": 18, "base_channels": 8},
    "image_neck": {"out_channels": (8, 8, 8, 8)},
    "depth_net": {"mid_channels": 8, "blocks": 1},
    "head": {"trunk_channels": 8, "neck_channels": (8, 8, 8, 8), "shared_channels": 8, "branch_channels": 8},
}


def small(**changes: Any) -> BevDepthConfig:
    return BevDepthConfig.model_validate({**SMALL, **changes})


def make_batch(config: BevDepthConfig, samples: int = 2) -> SweepBatch:
    g = torch.Generator().manual_seed(0)
    shape = (samples, config.key_frames, 2)
    height, width = config.final_size
    pose = torch.tensor([[0.0, 0, 1, 1], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]]).repeat(*shape, 1, 1)
    pose[:, :, 1, :2, :3] *= -1
    pose[..., 0, 3] += torch.arange(config.key_frames)[:, None]
    intrin = torch.eye(4).repeat(*shape, 1, 1)
    intrin[..., 0, 0] = intrin[..., 1, 1] = width
    intrin[..., 0, 2], intrin[..., 1, 2] = width / 2, height / 2
    eye = torch.eye(4).repeat(*shape, 1, 1)
    boxes = np.array([[10.3, 3.1, -0.6, 4.6, 1.9, 1.7, 0.35, 3.2, 0.4]], np.float32)
    depth = torch.rand((samples, 2, height, width), generator=g) * 60
    return SweepBatch(
        images=torch.randn((*shape, 3, height, width), generator=g),
        mats={
            "sensor2ego": pose,
            "intrin": intrin,
            "ida": eye,
            "sensor2sensor": eye,
            "bda": torch.eye(4).repeat(samples, 1, 1),
        },
        depth=depth * (depth > 50),
        boxes=[boxes] * samples,
        labels=[np.array([0])] * samples,
        tokens=[str(k) for k in range(samples)],
        frame2global=np.tile(np.eye(4), (samples, 1, 1)),
    )


def outputs_that_say(config: BevDepthConfig, targets: list[Any]) -> list[dict[str, torch.Tensor]]:
    """Head outputs from which the targets' boxes must come back."""
    outputs = []
    for target in targets:
        batch, _, rows, columns = target.heatmap.shape
        code = torch.zeros(batch, 10, rows * columns)
        for b in range(batch):
            for slot in target.mask[b].nonzero().flatten():
                code[b, :, target.cell[b, slot]] = target.code[b, slot]
        code = code.reshape(batch, 10, rows, columns)
        peaks = target.heatmap.eq(1).float()
        output = dict(zip([n for n, _ in BRANCHES], code.split([c for _, c in BRANCHES], dim=1), strict=True))
        outputs.append({**output, "heatmap": peaks * 20 - 10})
    return outputs
