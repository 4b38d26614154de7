"""Images to the flat features that the encoder reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev_bevformer.config import BevFormerConfig

OFFICIAL_LEVELS = 4
"""Rows of the original's level embedding, whatever the number of levels."""


class FeatureEmbedding(nn.Module):
    """Marks each feature with its camera and its level. Keys ``cams_embeds`` and ``level_embeds``."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        self.level_embeds = nn.Parameter(torch.randn(max(OFFICIAL_LEVELS, config.levels), config.channels))
        self.cams_embeds = nn.Parameter(torch.randn(config.cameras, config.channels))

    def forward(self, maps: Sequence[Tensor], cameras: int) -> tuple[Tensor, list[tuple[int, int]]]:
        """Maps (B*N,C,h,w) per level to (B*N,S,C), the levels row-major one after the other, and their (h, w)."""
        shapes = [(int(x.shape[-2]), int(x.shape[-1])) for x in maps]
        flat = torch.cat(
            [x.flatten(2).transpose(1, 2) + self.level_embeds[level] for level, x in enumerate(maps)], dim=1
        )
        return (flat.unflatten(0, (-1, cameras)) + self.cams_embeds[:, None]).flatten(0, 1), shapes
