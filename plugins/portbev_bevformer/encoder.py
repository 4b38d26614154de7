"""The BEV encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from portbev.nn.attention import FeedForward
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.prepared import FrameGeometry
from portbev_bevformer.projection import cell_centers
from portbev_bevformer.spatial import Pairs, Shapes, SpatialCrossAttention
from portbev_bevformer.temporal import History, TemporalSelfAttention


class EncoderLayer(nn.Module):
    """Temporal self-attention, spatial cross-attention and a feed-forward layer, a LayerNorm after each."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        channels, heads, section = config.channels, config.heads, config.encoder
        self.temporal = TemporalSelfAttention(
            channels,
            heads,
            section.temporal_points,
            dropout=config.dropout,
            official_concat=config.quirks.temporal_concat == "official",
        )
        self.spatial = SpatialCrossAttention(channels, heads, config.levels, section.spatial_points, config.dropout)
        self.feed_forward = FeedForward(channels, config.hidden, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        history: History,
        size: tuple[int, int],
        features: Tensor,
        shapes: Shapes,
        pairs: Pairs,
    ) -> Tensor:
        """(B,Q,C) to (B,Q,C)."""
        x = self.norms[0](self.temporal(x, position, history, size))
        x = self.norms[1](self.spatial(x, features, shapes, pairs))
        return self.norms[2](self.feed_forward(x))


class Encoder(nn.Module):
    """Computes the BEV features of the present frame (Li et al., ECCV 2022; the original's BEVFormerEncoder)."""

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        self.size, self.aliased_reference = config.bev_size, config.aliased_reference
        self.checkpointing = config.encoder.checkpointing
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder.layers))
        self.register_buffer("centers", torch.from_numpy(cell_centers(self.size)), persistent=False)
        self.centers: Tensor

    def forward(
        self,
        queries: Tensor,
        position: Tensor,
        features: Tensor,
        shapes: Shapes,
        pairs: Pairs,
        *,
        previous: Tensor | None,
        has_previous: Sequence[bool] | None,
        geometry: FrameGeometry,
    ) -> Tensor:
        """Encode.

        Args:
            queries: (B,Q,C) BEV queries.
            position: (Q,C) their positional encodings.
            features: (B*N,S,C) image features, the levels one after the other, each row by row.
            shapes: (h, w) of each level.
            pairs: the visible (camera, query) pairs.
            previous: (B,Q,C) BEV of the previous frame, rotated to the present heading; None if no sample has one.
            has_previous: which samples have a previous frame: all, none, or those that ``geometry`` says; None: as
                ``geometry`` says, without a look at its values.
            geometry: the frame's, on the device.

        Returns:
            (B,Q,C).
        """
        history = self._history(queries, previous, has_previous, geometry)
        x = queries
        for layer in self.layers:
            arguments = (x, position, history, self.size, features, shapes, pairs)
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, *arguments, use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(*arguments)
        return x

    def _history(
        self,
        queries: Tensor,
        previous: Tensor | None,
        has_previous: Sequence[bool] | None,
        geometry: FrameGeometry,
    ) -> History:
        """Reference points in the previous BEV are the shifted cell centres, those in the present BEV the centres."""
        batch, mask, offset = queries.shape[0], geometry.continues, geometry.shift
        in_all = has_previous is not None and all(has_previous)
        in_some = has_previous is None or any(has_previous)
        if not in_all:
            there = mask[:, None] if in_some else torch.zeros_like(mask)[:, None]
            offset = torch.where(there, offset, torch.zeros_like(offset))
        shifted = self.centers + offset[:, None]
        present = shifted if self.aliased_reference else self.centers.expand(batch, -1, -1)
        reference = torch.stack([shifted, present], 2).unsqueeze(3)
        if previous is None:
            return History(None, None, reference)
        value = torch.stack([previous.to(queries.dtype), queries], 1)
        return History(value, None if in_all else mask, reference)
