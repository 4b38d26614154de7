"""Multi-scale deformable attention as a layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev.nn.attention import direction_bias
from portbev.nn.dropout import Dropout
from portbev.ops import ms_deform_attn

Shapes = Sequence[tuple[int, int]]


class MultiScaleDeformableAttention(nn.Module):
    """Deformable attention (Zhu et al., ICLR 2021): each query reads a few points around its reference on each level.

    Keys ``sampling_offsets value_proj attention_weights output_proj`` as in mmcv's module of this name. The query's own
    value is added to the result (mmcv's ``identity``) by the caller.

    Args:
        channels: C, a multiple of ``heads``.
        levels, points: maps, and points on each of them, that a head of a query reads.
        dropout: on the result.
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
        start_sampling(self.sampling_offsets, self.attention_weights, direction_bias(heads, levels, points))
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, value: Tensor, reference: Tensor, shapes: Shapes) -> Tensor:
        """Attend.

        Args:
            query: (B,Q,C), position added.
            value: (B,S,C), the levels row-major one after the other.
            reference: (B,Q,2) or (B,Q,levels,2), (x, y) as shares of the maps.
            shapes: (h, w) of each level.

        Returns:
            (B,Q,C).
        """
        if reference.dim() == 3:  # the same place on each level
            reference = reference[:, :, None]
        locations = sampling_locations(self.sampling_offsets(query), reference, shapes, self.heads, self.points)
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, (self.levels, self.points))
        value = self.value_proj(value).unflatten(-1, (self.heads, -1))
        return self.dropout(self.output_proj(ms_deform_attn(value, shapes, locations, weights)))


def sampling_locations(offsets: Tensor, reference: Tensor, shapes: Shapes, heads: int, points: int) -> Tensor:
    """Where to read: the reference plus offsets in pixels of each level.

    Args:
        offsets: (B,Q,heads*levels*points*2). reference: (B,Q,levels or 1,2).

    Returns:
        (B,Q,heads,levels,points,2) float32 or wider.
    """
    offsets = offsets.unflatten(-1, (heads, len(shapes), points, 2))
    sizes = torch.tensor([[w, h] for h, w in shapes], dtype=reference.dtype, device=offsets.device)
    return reference[:, :, None, :, None, :] + offsets.to(reference.dtype) / sizes[:, None]


def start_sampling(offsets: nn.Linear, weights: nn.Linear, bias: Tensor) -> None:
    """Initial values: offsets that do not depend on the query, and equal weights."""
    for parameter in (offsets.weight, weights.weight, weights.bias):
        nn.init.zeros_(parameter)
    with torch.no_grad():
        offsets.bias.copy_(bias)
