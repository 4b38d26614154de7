"""Spatial cross-attention: each BEV query samples the images in which its pillar is visible."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from portbev.nn.attention import direction_bias
from portbev.nn.deform_attention import Shapes, init_sampling, predicted
from portbev.nn.dropout import Dropout
from portbev.nn.precision import full_precision
from portbev.ops import deform_attn_ragged
from portbev_bevformer.prepared import FrameGeometry
from portbev_bevformer.projection import VisiblePairs


class VisiblePairTensors:
    """The arrays of :class:`VisiblePairs` as tensors on the device, shared by the layers of a forward pass."""

    def __init__(self, pairs: VisiblePairs | FrameGeometry, device: torch.device) -> None:
        self.counts = pairs.counts
        self.query = torch.as_tensor(pairs.query).to(device, non_blocking=True)
        self.reference = torch.as_tensor(pairs.reference).to(device, non_blocking=True)
        self.weight = torch.as_tensor(pairs.weight).to(device, non_blocking=True)

    def attend(self, value: Tensor, shapes: Shapes, offsets: Tensor, logits: Tensor) -> Tensor:
        """A row (C) of samples of ``value`` (B*N,S,heads,c) for each pair, with the offsets and logits of its query."""
        reference = self.reference[:, None]
        return deform_attn_ragged(value, shapes, offsets, logits, reference, self.query, self.counts)

    def mean(self, rows: Tensor, query: Tensor) -> Tensor:
        """The mean over the pairs of each query, in the shape of ``query`` (B*Q,C); zero for a query without pairs."""
        total = torch.zeros_like(query)
        start = 0
        for count in self.counts:  # a query occurs once in an image, so the order of the sum is fixed
            image = slice(start, start + count)
            total.index_add_(0, self.query[image], rows[image])
            start += count
        return total * self.weight[:, None]


class Pairs(Protocol):
    """Which cameras each query looks into, and where."""

    def attend(self, value: Tensor, shapes: Shapes, offsets: Tensor, logits: Tensor) -> Tensor:
        """A row of samples for each pair."""
        ...

    def mean(self, rows: Tensor, query: Tensor) -> Tensor:
        """The mean of each query's rows, in the shape of ``query`` (B*Q,C)."""
        ...


class CameraAttention(nn.Module):
    """The original's MSDeformableAttention3D, computed for the visible (camera, query) pairs only.

    Sampling point p of a level belongs to the pillar's point p modulo their number. There is no projection of the
    result. Keys as in the original.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int) -> None:
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        init_sampling(self.sampling_offsets, self.attention_weights, direction_bias(heads, levels, points))
        nn.init.xavier_uniform_(self.value_proj.weight)
        nn.init.zeros_(self.value_proj.bias)

    def forward(self, query: Tensor, features: Tensor, shapes: Shapes, pairs: Pairs) -> Tensor:
        """Queries (B*Q,C) and image features (B*N,S,C) to one row per pair (R,C)."""
        # Offsets and logits depend on the query alone: they are predicted once per query and shared by its pairs.
        offsets, logits = predicted(self, query)
        value = self.value_proj(features).unflatten(-1, (self.heads, -1))
        return pairs.attend(value, shapes, offsets, logits)


class SpatialCrossAttention(nn.Module):
    """Mean of the attention over the cameras that see a query (Li et al., ECCV 2022, section 3.3).

    Only the visible (camera, query) pairs are computed; the original pads the list of each camera to the longest one.
    It computes in float32 also under mixed precision, as the original's fp16 variant does.
    """

    def __init__(self, channels: int, heads: int, levels: int, points: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.deformable_attention = CameraAttention(channels, heads, levels, points)
        self.output_proj = nn.Linear(channels, channels)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.output_proj.weight)
        nn.init.zeros_(self.output_proj.bias)

    def forward(self, x: Tensor, features: Tensor, shapes: Shapes, pairs: Pairs) -> Tensor:
        """(B,Q,C) queries and (B*N,S,C) image features to (B,Q,C)."""
        with full_precision(x.device):
            query, features = x.flatten(0, 1).float(), features.float()
            rows = self.deformable_attention(query, features, shapes, pairs)
            out = self.output_proj(pairs.mean(rows, query))
        return self.dropout(out.view_as(x)) + x
