"""The decoder: queries look for objects in the BEV, and refine where they look. May import: torch, portbev.nn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from portbev.nn.attention import FeedForward, MultiheadAttention
from portbev.nn.deform_attention import MultiScaleDeformableAttention
from portbev.nn.detr import inverse_sigmoid
from portbev.nn.dropout import Dropout
from portbev_bevformer.config import BevFormerConfig


class Decoded(NamedTuple):
    """Per layer: queries (B,Q,C), the references (B,Q,3) that entered it, and its box regression (B,Q,10)."""

    states: list[Tensor]
    references: list[Tensor]
    regressions: list[Tensor]


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the BEV and a feed-forward layer, each normalised afterwards."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        channels, heads = config.channels, config.heads
        self.self_attention = MultiheadAttention(channels, heads, config.dropout)
        self.dropout = Dropout(config.dropout)
        self.cross_attention = MultiScaleDeformableAttention(
            channels, heads, levels=1, points=config.decoder.points, dropout=config.dropout
        )
        self.feed_forward = FeedForward(channels, config.hidden, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, position: Tensor, bev: Tensor, reference: Tensor, size: tuple[int, int]) -> Tensor:
        """Queries (B,Q,C), positions (B,Q,C), BEV (B,S,C) and references (B,Q,2) to queries (B,Q,C)."""
        query = x + position
        x = self.norms[0](x + self.dropout(self.self_attention(query, query, x)))
        x = self.norms[1](x + self.cross_attention(x + position, bev, reference, [size]))
        return self.norms[2](self.feed_forward(x))


class Decoder(nn.Module):
    """Layers with iterative box refinement (the original's DetectionTransformerDecoder).

    The first reference keeps its gradient; later ones are detached.
    """

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        self.size = config.bev_size
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder.layers))

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        bev: Tensor,
        reference: Tensor,
        branches: Sequence[Callable[[Tensor], Tensor]],
    ) -> Decoded:
        """Decode.

        Args:
            x, position: (B,Q,C). bev: (B,S,C). reference: (B,Q,3) in [0, 1], (x, y, z) of the range.
            branches: per layer, queries (B,Q,C) to box regressions (B,Q,10).
        """
        decoded = Decoded([], [], [])
        for layer, branch in zip(self.layers, branches, strict=True):
            x = layer(x, position, bev, reference[..., :2], self.size)
            regression = branch(x).float()
            decoded.states.append(x)
            decoded.references.append(reference)
            decoded.regressions.append(regression)
            step = torch.cat([regression[..., :2], regression[..., 4:5]], -1)
            reference = (step + inverse_sigmoid(reference)).sigmoid().detach()
        return decoded
