"""The encoder of the polar maps, which is that of Deformable DETR (Zhu et al., ICLR 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev.nn.attention import FeedForward
from portbev.nn.deform_attention import MultiScaleDeformableAttention
from portbev.nn.recompute import recomputed
from portbev_echofusion.config import LEVELS, EchoFusionConfig
from portbev_echofusion.positions import sine_encoding

Shapes = list[tuple[int, int]]


class EncoderLayer(nn.Module):
    """Deformable self-attention and a feed-forward layer, a LayerNorm after each."""

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        channels = config.channels
        self.attention = MultiScaleDeformableAttention(
            channels, config.heads, levels=LEVELS, points=config.encoder.points, dropout=config.dropout
        )
        self.feed_forward = FeedForward(channels, config.hidden, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))

    def forward(self, x: Tensor, position: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """Tokens (B,S,C), positions (S,C) and reference points (B,S,2) to tokens (B,S,C)."""
        x = self.norms[0](x + self.attention(x + position, x, reference, shapes))
        return self.norms[1](self.feed_forward(x))


class Encoder(nn.Module):
    """Deformable self-attention among the cells of all levels. Keys ``level_embeds``, ``layers.i``."""

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        self.channels, self.checkpointing = config.channels, config.checkpointing
        self.level_embeds = nn.Parameter(torch.randn(LEVELS, config.channels))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder.layers))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Shapes]:
        """Maps (B,C,h,w), fine to coarse, to tokens (B,S,C), and the (h, w) of each level.

        Tokens are the cells of one level after the other, each row by row.
        """
        shapes = [(int(x.shape[-2]), int(x.shape[-1])) for x in maps]
        device = maps[0].device
        x = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1)
        position = torch.cat(
            [
                sine_encoding(h, w, self.channels, normalize=True, device=device).flatten(0, 1) + self.level_embeds[i]
                for i, (h, w) in enumerate(shapes)
            ]
        )
        reference = torch.cat([centers(h, w) for h, w in shapes]).to(device, non_blocking=True).expand(len(x), -1, -1)
        for layer in self.layers:
            arguments = (x, position, reference, shapes)
            x = recomputed(layer, *arguments) if self.checkpointing else layer(*arguments)
        return x, shapes


def centers(rows: int, columns: int) -> Tensor:
    """(rows*columns, 2) centres (x, y) of the cells, row by row, in units of the map's width and height."""
    y, x = ((torch.arange(count, dtype=torch.float32) + 0.5) / count for count in (rows, columns))
    return torch.stack([x[None].expand(rows, -1), y[:, None].expand(-1, columns)], -1).flatten(0, 1)
