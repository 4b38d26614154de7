"""What the encoder starts from: features marked by camera and level, and a query per cell of the bird's-eye view."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev_bevformer.config import BevFormerConfig

CAN_BUS = 18
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


class BevQueries(nn.Module):
    """A learned query per cell; the CAN bus (ego motion) is embedded and added to all of them."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        rows, columns = config.bev_size
        channels = config.channels
        self.embedding = nn.Embedding(rows * columns, channels)
        self.row_embed = nn.Embedding(rows, channels // 2)
        self.col_embed = nn.Embedding(columns, channels // 2)
        first, second = nn.Linear(CAN_BUS, channels // 2), nn.Linear(channels // 2, channels)
        layers = {"0": first, "1": nn.ReLU(inplace=True), "2": second, "3": nn.ReLU(inplace=True)}
        self.can_bus_mlp = nn.Sequential(OrderedDict({**layers, "norm": nn.LayerNorm(channels)}))
        for layer in (first, second):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, can_bus: Tensor) -> Tensor:
        """(B,18) float32 to queries (B,Q,C). All numbers go in as they are, absolute ones too."""
        return self.embedding.weight + self.can_bus_mlp(can_bus)[:, None]

    def position(self) -> Tensor:
        """(Q,C): the column's embedding, then the row's."""
        rows, columns = self.row_embed.weight, self.col_embed.weight
        shape = (len(rows), len(columns), -1)
        return torch.cat([columns[None].expand(shape), rows[:, None].expand(shape)], -1).flatten(0, 1)
