"""Class and box branches of the decoder's layers. May import: torch, portbev.nn, this plugin."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from portbev.nn.detr import inverse_sigmoid
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.decoder import Decoded

CODE = 10
"""Numbers of a box code: cx, cy, log w, log l, cz, log h, sin yaw, cos yaw, vx, vy."""
PRIOR = 0.01
"""Probability of each class of each query before training."""


class Head(nn.Module):
    """Branches with weights of their own for each layer; centres come out in metres."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        channels, layers = config.channels, config.decoder.layers
        self.cls_branches = nn.ModuleList(_class_branch(channels, len(config.classes)) for _ in range(layers))
        self.reg_branches = nn.ModuleList(_box_branch(channels) for _ in range(layers))
        bounds = torch.tensor(config.point_cloud_range)
        self.register_buffer("code_weights", torch.tensor(config.loss.code_weights))
        self.register_buffer("low", bounds[:3], persistent=False)
        self.register_buffer("extent", bounds[3:] - bounds[:3], persistent=False)
        self.code_weights: Tensor
        self.low: Tensor
        self.extent: Tensor

    def forward(self, decoded: Decoded) -> tuple[Tensor, Tensor]:
        """Logits (layers,B,Q,classes) and box codes (layers,B,Q,10), float32."""
        logits = [branch(x).float() for branch, x in zip(self.cls_branches, decoded.states, strict=True)]
        codes = [
            self._code(regression, reference)
            for regression, reference in zip(decoded.regressions, decoded.references, strict=True)
        ]
        return torch.stack(logits), torch.stack(codes)

    def _code(self, regression: Tensor, reference: Tensor) -> Tensor:
        place = torch.cat([regression[..., :2], regression[..., 4:5]], -1) + inverse_sigmoid(reference)
        metres = place.sigmoid() * self.extent + self.low
        return torch.cat([metres[..., :2], regression[..., 2:4], metres[..., 2:], regression[..., 5:]], -1)


def _class_branch(channels: int, classes: int) -> nn.Sequential:
    last = nn.Linear(channels, classes)
    nn.init.constant_(last.bias, -math.log(1 / PRIOR - 1))
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, last)


def _box_branch(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [nn.Linear(channels, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(channels, CODE))
