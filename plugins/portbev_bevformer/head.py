"""The head: class and box branches of the decoder's layers, and the conversion between boxes and box codes.

A box code is [cx, cy, log w, log l, cz, log h, sin, cos, vx, vy] in the LIDAR_TOP frame: centre and sizes in metres,
velocity in m/s. sin and cos are of the heading that mmdet3d used before its version 1, which is -yaw - pi / 2 for a yaw
from x towards y. For boxes see ``portbev.boxes``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from portbev.boxes import wrap_angle
from portbev.nn.detr_decoder import Branches
from portbev_bevformer.config import BevFormerConfig

Floats = NDArray[np.float32]


class Head(Branches):
    """Branches whose box codes hold the centre in metres."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__(config.channels, config.decoder.layers, len(config.classes), config.loss.code_weights)
        bounds = torch.tensor(config.point_cloud_range)
        self.register_buffer("low", bounds[:3], persistent=False)
        self.register_buffer("extent", bounds[3:] - bounds[:3], persistent=False)
        self.low: Tensor
        self.extent: Tensor

    def code(self, regression: Tensor, center: Tensor) -> Tensor:
        metres = center * self.extent + self.low
        return torch.cat([metres[..., :2], regression[..., 2:4], metres[..., 2:], regression[..., 5:]], -1)


def encode(boxes: ArrayLike) -> Floats:
    """Boxes (n, 9) to codes (n, 10)."""
    x, y, z, dx, dy, dz, yaw, vx, vy = np.asarray(boxes, np.float32).reshape(-1, 9).T
    heading = -yaw - np.float32(math.pi / 2)
    return np.stack([x, y, np.log(dy), np.log(dx), z, np.log(dz), np.sin(heading), np.cos(heading), vx, vy], -1)


def decode(codes: ArrayLike) -> Floats:
    """Codes (n, 10) to boxes (n, 9). Sizes beyond float32 become inf or 0."""
    cx, cy, w, length, cz, h, sin, cos, vx, vy = np.asarray(codes, np.float32).reshape(-1, 10).T
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        yaw = wrap_angle(-np.arctan2(sin, cos) - math.pi / 2).astype(np.float32)
        return np.stack([cx, cy, cz, np.exp(length), np.exp(w), np.exp(h), yaw, vx, vy], -1)
