"""The encoder's inputs: image features with embeddings of camera and level, and a query per BEV cell."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev_bevformer.config import BevFormerConfig

CAN_BUS_SIZE = 18
"""Length of the CAN bus vector of a frame."""
OFFICIAL_LEVELS = 4
"""The original's level embedding has at least this many rows, whatever the number of levels."""


class FeatureEmbedding(nn.Module):
    """Adds a learned embedding of its camera and of its level to each feature.

    Keys ``cams_embeds`` and ``level_embeds``.
    """

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        self.level_embeds = nn.Parameter(torch.randn(max(OFFICIAL_LEVELS, config.levels), config.channels))
        self.cams_embeds = nn.Parameter(torch.randn(config.cameras, config.channels))

    def forward(self, maps: Sequence[Tensor], cameras: int) -> tuple[Tensor, list[tuple[int, int]]]:
        """Features (B*N,S,C) from the maps (B*N,C,h,w) of all levels, and the (h, w) of each level.

        The levels are one after the other, each row by row.
        """
        shapes = [(int(x.shape[-2]), int(x.shape[-1])) for x in maps]
        flat = torch.cat(
            [x.flatten(2).transpose(1, 2) + self.level_embeds[level] for level, x in enumerate(maps)], dim=1
        )
        return (flat.unflatten(0, (-1, cameras)) + self.cams_embeds[:, None]).flatten(0, 1), shapes


class BevQueries(nn.Module):
    """A learned query per cell, to which an embedding of the CAN bus vector (ego motion) is added."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        rows, columns = config.bev_size
        channels = config.channels
        self.embedding = nn.Embedding(rows * columns, channels)
        self.row_embed = nn.Embedding(rows, channels // 2)
        self.col_embed = nn.Embedding(columns, channels // 2)
        linear1, linear2 = nn.Linear(CAN_BUS_SIZE, channels // 2), nn.Linear(channels // 2, channels)
        layers = {"0": linear1, "1": nn.ReLU(inplace=True), "2": linear2, "3": nn.ReLU(inplace=True)}
        self.can_bus_mlp = nn.Sequential(OrderedDict({**layers, "norm": nn.LayerNorm(channels)}))
        for layer in (linear1, linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, can_bus: Tensor) -> Tensor:
        """CAN bus vectors (B,18) float32 to queries (B,Q,C). The vectors are used without normalisation."""
        return self.embedding.weight + self.can_bus_mlp(can_bus)[:, None]

    def position(self) -> Tensor:
        """Positional encoding (Q,C): the embedding of the cell's column, then that of its row."""
        rows, columns = self.row_embed.weight, self.col_embed.weight
        shape = (len(rows), len(columns), -1)
        return torch.cat([columns[None].expand(shape), rows[:, None].expand(shape)], -1).flatten(0, 1)
