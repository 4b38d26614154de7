"""Spatial cross-attention: each BEV query reads the images that see its pillar."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from portbev.nn.attention import direction_bias
from portbev.nn.deform_attention import start_sampling
from portbev.nn.dropout import Dropout
from portbev.nn.precision import full_precision
from portbev.ops import ms_deform_attn_ragged
from portbev_bevformer.projection import Visibility

Shapes = Sequence[tuple[int, int]]


class Sight:
    """A :class:`Visibility` on the device: what the layers of one forward pass share."""

    def __init__(self, pairs: Visibility, device: torch.device) -> None:
        self.counts = pairs.counts
        self.query = torch.from_numpy(pairs.query).to(device, non_blocking=True)
        self.places = torch.from_numpy(pairs.places).to(device, non_blocking=True)
        self.share = torch.from_numpy(pairs.share).to(device, non_blocking=True)


class CameraAttention(nn.Module):
    """The original's MSDeformableAttention3D, over (camera, query) pairs alone.

    Point p of a level belongs to anchor p modulo the number of anchors. Keys as in the original; there is no projection
    of the result.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        start_sampling(self.sampling_offsets, self.attention_weights, direction_bias(heads, levels, points))
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.zeros_(self.value_proj.bias)

    def forward(self, query: Tensor, features: Tensor, shapes: Shapes, sight: Sight) -> Tensor:
        """Queries (B*Q,C) and features (B*N,S,C) to one row per pair (R,C)."""
        # Offsets and weights belong to the query, not to the pair: predict them once, then copy.
        offsets = self.sampling_offsets(query).index_select(0, sight.query)
        offsets = offsets.unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1).index_select(0, sight.query)
        sizes = torch.tensor([[w, h] for h, w in shapes], dtype=sight.places.dtype, device=query.device)
        anchors = sight.places.repeat(1, self.points // sight.places.shape[1], 1)
        locations = anchors[:, None, None] + offsets / sizes[:, None]
        value = self.value_proj(features).unflatten(-1, (self.heads, -1))
        weights = weights.unflatten(-1, (self.levels, self.points))
        return ms_deform_attn_ragged(value, shapes, locations, weights, sight.counts)


class SpatialCrossAttention(nn.Module):
    """Sum over the cameras that see a query, divided by their number (Li et al., ECCV 2022, section 3.3).

    The work is that of the visible (camera, query) pairs; the original pads each camera's list to the longest one. In
    float32 under mixed precision, as in the original's fp16 variant.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.deformable_attention = CameraAttention(channels, heads, levels, points)
        self.output_proj = nn.Linear(channels, channels)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)

    def forward(self, x: Tensor, features: Tensor, shapes: Shapes, sight: Sight) -> Tensor:
        """(B,Q,C) queries and (B*N,S,C) image features to (B,Q,C)."""
        with full_precision(x.device):
            query, features = x.flatten(0, 1).float(), features.float()
            rows = self.deformable_attention(query, features, shapes, sight)
            slots = torch.zeros_like(query)
            start = 0
            for count in sight.counts:  # within an image no query comes twice: the sum has one order on every device
                part = slice(start, start + count)
                slots.index_add_(0, sight.query[part], rows[part])
                start += count
            out = self.output_proj(slots * sight.share[:, None])
        return self.dropout(out.view_as(x)) + x
