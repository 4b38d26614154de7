"""Class and box branches of the decoder's layers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from portbev.nn.detr_decoder import Branches
from portbev_echofusion.config import EchoFusionConfig


class Head(Branches):
    """Places are polar; centres come out in metres."""

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__(config.channels, config.decoder.layers, 1, config.loss.code_weights)
        polar = config.polar
        self.angle, self.range_max, self.z_range = math.radians(polar.angle), polar.range_max, polar.z_range

    def code(self, regression: Tensor, place: Tensor) -> Tensor:
        azimuth, distance, height = place.unbind(-1)
        azimuth, distance = azimuth * self.angle - self.angle / 2, distance * self.range_max
        low, high = self.z_range
        center = torch.stack([distance * azimuth.cos(), distance * azimuth.sin()], -1)
        z = (height * (high - low) + low)[..., None]
        return torch.cat([center, regression[..., 2:4], z, regression[..., 5:]], -1)
