"""BEV queries with their positions and the vehicle's state."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from portbev_bevformer.config import BevFormerConfig

CAN_BUS = 18


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
