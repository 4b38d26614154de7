"""Multi-scale deformable attention as a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from portbev.nn.attention import direction_bias
from portbev.nn.dropout import Dropout
from portbev.ops import deform_attn

Shapes = Sequence[tuple[int, int]]


class MultiScaleDeformableAttention(nn.Module):
    """Deformable attention (Zhu et al., ICLR 2021): each query samples a few points around its reference on each level.

    Keys ``sampling_offsets value_proj attention_weights output_proj`` as in mmcv's module of this name. Unlike mmcv's
    module it does not add the query (``identity``) to the result; the caller does.

    Args:
        channels: C, a multiple of ``heads``.
        levels: number of maps that each head samples.
        points: number of points that each head samples on each map.
        dropout: probability of zeroing an element of the result.
    """

    def __init__(
        self, channels: int = 256, heads: int = 8, levels: int = 1, points: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.dropout = Dropout(dropout)
        init_sampling(self.sampling_offsets, self.attention_weights, direction_bias(heads, levels, points))
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, value: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """Attend.

        Args:
            query: (B,Q,C), with the positional encoding added.
            value: (B,S,C), the levels one after the other, each row by row.
            reference: (B,Q,2) or (B,Q,levels,2) reference points (x, y) in units of the maps' width and height.
            shapes: (h, w) of each level.

        Returns:
            (B,Q,C).
        """
        if reference.dim() == 3:  # the same reference point on each level
            reference = reference[:, :, None]
        offsets, logits = predicted(self, query)
        value = self.value_proj(value).unflatten(-1, (self.heads, -1))
        sampled = deform_attn(value, shapes, offsets, logits, reference[:, :, :, None])
        return self.dropout(self.output_proj(sampled))


class Sampling(Protocol):
    """A layer that predicts where its heads sample, and with which weights."""

    heads: int
    levels: int
    points: int
    sampling_offsets: nn.Linear
    attention_weights: nn.Linear


def predicted(layer: Sampling, query: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets (...,heads,levels,points,2) in pixels and logits (...,heads,levels,points) of queries (...,C)."""
    shape = (layer.heads, layer.levels, layer.points)
    return layer.sampling_offsets(query).unflatten(-1, (*shape, 2)), layer.attention_weights(query).unflatten(-1, shape)


def init_sampling(sampling_offsets: nn.Linear, attention_weights: nn.Linear, bias: Tensor) -> None:
    """Initial values with which every query gets the sampling offsets ``bias`` and equal attention weights."""
    for parameter in (sampling_offsets.weight, attention_weights.weight, attention_weights.bias):
        nn.init.zeros_(parameter)
    with torch.no_grad():
        sampling_offsets.bias.copy_(bias)


def xavier_uniform(*modules: nn.Module) -> None:
    """Draw every matrix of a transformer Xavier uniform, except in the layers that predict offsets and weights."""
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1 and "sampling_offsets" not in name and "attention_weights" not in name:
                nn.init.xavier_uniform_(parameter)
