"""Class and box branches of the decoder's layers."""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.nn.detr_decoder import Branches
from portbev_bevformer.config import BevFormerConfig


class Head(Branches):
    """Box codes are cx, cy, log w, log l, cz, log h, sin yaw, cos yaw, vx, vy; centres in metres."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__(config.channels, config.decoder.layers, len(config.classes), config.loss.code_weights)
        bounds = torch.tensor(config.point_cloud_range)
        self.register_buffer("low", bounds[:3], persistent=False)
        self.register_buffer("extent", bounds[3:] - bounds[:3], persistent=False)
        self.low: Tensor
        self.extent: Tensor

    def code(self, regression: Tensor, place: Tensor) -> Tensor:
        metres = place * self.extent + self.low
        return torch.cat([metres[..., :2], regression[..., 2:4], metres[..., 2:], regression[..., 5:]], -1)
