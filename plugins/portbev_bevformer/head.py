"""Class and box branches of the decoder's layers. May import: torch, portbev.nn, this plugin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from portbev.nn.detr_decoder import Decoded, box_branch, class_branch
from portbev_bevformer.config import BevFormerConfig

CODE = 10
"""Numbers of a box code: cx, cy, log w, log l, cz, log h, sin yaw, cos yaw, vx, vy."""


class Head(nn.Module):
    """Branches with weights of their own for each layer; centres come out in metres."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        channels, layers = config.channels, config.decoder.layers
        self.cls_branches = nn.ModuleList(class_branch(channels, len(config.classes)) for _ in range(layers))
        self.reg_branches = nn.ModuleList(box_branch(channels, CODE) for _ in range(layers))
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
            self._code(regression, place)
            for regression, place in zip(decoded.regressions, decoded.places(), strict=True)
        ]
        return torch.stack(logits), torch.stack(codes)

    def _code(self, regression: Tensor, place: Tensor) -> Tensor:
        metres = place * self.extent + self.low
        return torch.cat([metres[..., :2], regression[..., 2:4], metres[..., 2:], regression[..., 5:]], -1)
