"""Object queries, and the decoder that looks for objects in the polar maps. May import: torch, portbev.nn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from portbev.nn.attention import FeedForward, MultiheadAttention
from portbev.nn.deform_attention import MultiScaleDeformableAttention
from portbev.nn.detr import inverse_sigmoid
from portbev.nn.dropout import Dropout
from portbev_echofusion.config import LEVELS, EchoFusionConfig

Shapes = Sequence[tuple[int, int]]


class Decoded(NamedTuple):
    """Per layer: queries (B,Q,C), the references (B,Q,3) that entered it, and its box regression (B,Q,8)."""

    states: list[Tensor]
    references: list[Tensor]
    regressions: list[Tensor]


class ObjectQueries(nn.Module):
    """Learned position and content of each query, and where it looks first: (azimuth, range, height) in [0, 1]."""

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.decoder.queries, 2 * config.channels)
        self.reference_points = nn.Linear(config.channels, 3)
        nn.init.xavier_uniform_(self.reference_points.weight)
        nn.init.zeros_(self.reference_points.bias)

    def forward(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Content (B,Q,C), position (B,Q,C), reference (B,Q,3)."""
        position, content = self.embedding.weight.chunk(2, -1)
        reference = self.reference_points(position).float().sigmoid()
        content, position, reference = (x.expand(batch, -1, -1) for x in (content, position, reference))
        return content, position, reference


class DecoderLayer(nn.Module):
    """Self-attention, deformable attention to the maps and a feed-forward layer, each normalised afterwards."""

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        channels, heads = config.channels, config.heads
        self.self_attention = MultiheadAttention(channels, heads, config.dropout)
        self.dropout = Dropout(config.dropout)
        self.cross_attention = MultiScaleDeformableAttention(
            channels, heads, levels=LEVELS, points=config.decoder.points, dropout=config.dropout
        )
        self.feed_forward = FeedForward(channels, config.hidden, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: Tensor, position: Tensor, tokens: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """Queries (B,Q,C), positions (B,Q,C), tokens (B,S,C) and references (B,Q,2) to queries (B,Q,C)."""
        query = x + position
        x = self.norms[0](x + self.dropout(self.self_attention(query, query, x)))
        x = self.norms[1](x + self.cross_attention(x + position, tokens, reference, shapes))
        return self.norms[2](self.feed_forward(x))


class Decoder(nn.Module):
    """Layers with iterative refinement of where a query looks. The first reference keeps its gradient; later ones are
    detached.
    """

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder.layers))

    def forward(
        self,
        start: tuple[Tensor, Tensor, Tensor],
        tokens: Tensor,
        shapes: Shapes,
        branches: Sequence[Callable[[Tensor], Tensor]],
    ) -> Decoded:
        """Decode.

        Args:
            start: content (B,Q,C), position (B,Q,C) and reference (B,Q,3).
            tokens: (B,S,C), the levels of ``shapes`` one after the other.
            branches: per layer, queries (B,Q,C) to box regressions (B,Q,8).
        """
        x, position, reference = start
        decoded = Decoded([], [], [])
        for layer, branch in zip(self.layers, branches, strict=True):
            x = layer(x, position, tokens, reference[..., :2], shapes)
            regression = branch(x).float()
            decoded.states.append(x)
            decoded.references.append(reference)
            decoded.regressions.append(regression)
            step = torch.cat([regression[..., :2], regression[..., 4:5]], -1)
            reference = (step + inverse_sigmoid(reference)).sigmoid().detach()
        return decoded
