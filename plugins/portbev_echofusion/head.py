"""Class and box branches of the decoder's layers. May import: torch, portbev.nn, this plugin."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from portbev.nn.detr_decoder import Decoded, box_branch, class_branch
from portbev_echofusion.codec import CODE
from portbev_echofusion.config import EchoFusionConfig


class Head(nn.Module):
    """Branches with weights of their own for each layer; centres come out in metres."""

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        channels, layers, polar = config.channels, config.decoder.layers, config.polar
        self.cls_branches = nn.ModuleList(class_branch(channels, 1) for _ in range(layers))
        self.reg_branches = nn.ModuleList(box_branch(channels, CODE) for _ in range(layers))
        self.angle, self.range_max, self.z_range = math.radians(polar.angle), polar.range_max, polar.z_range
        self.register_buffer("code_weights", torch.tensor(config.loss.code_weights))
        self.code_weights: Tensor

    def forward(self, decoded: Decoded) -> tuple[Tensor, Tensor]:
        """Logits (layers,B,Q,1) and box codes (layers,B,Q,8), float32."""
        logits = [branch(x).float() for branch, x in zip(self.cls_branches, decoded.states, strict=True)]
        codes = [
            self._code(regression, place)
            for regression, place in zip(decoded.regressions, decoded.places(), strict=True)
        ]
        return torch.stack(logits), torch.stack(codes)

    def _code(self, regression: Tensor, place: Tensor) -> Tensor:
        azimuth, distance, height = place.unbind(-1)
        azimuth, distance = azimuth * self.angle - self.angle / 2, distance * self.range_max
        low, high = self.z_range
        center = torch.stack([distance * azimuth.cos(), distance * azimuth.sin()], -1)
        z = (height * (high - low) + low)[..., None]
        return torch.cat([center, regression[..., 2:4], z, regression[..., 5:]], -1)
