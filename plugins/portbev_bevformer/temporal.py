"""Temporal self-attention: a BEV query reads the BEV of the frame before and the present one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from portbev.nn.attention import direction_bias
from portbev.nn.deform_attention import start_sampling
from portbev.nn.dropout import Dropout
from portbev.ops import ms_deform_attn


@dataclass(frozen=True)
class History:
    """What the layers read besides their own input; the same for all of them.

    Attributes:
        value: (B,2,Q,C) the BEV before and the encoder's input, or None where no sample has a frame before.
        exists: (B,) bool, which samples have one; None stands for all of them.
        reference: (B,2,Q,2) where the two are read around, (x, y) as shares of the map.
    """

    value: Tensor | None
    exists: Tensor | None
    reference: Tensor

    def pair(self, x: Tensor) -> Tensor:
        """(B,2,Q,C) values for a layer whose input is ``x`` (B,Q,C): a sample without history reads itself twice."""
        if self.value is None:
            return torch.stack([x, x], 1)
        if self.exists is None:
            return self.value
        return torch.where(self.exists[:, None, None, None], self.value, torch.stack([x, x], 1))


class TemporalSelfAttention(nn.Module):
    """Deformable attention over two BEVs, averaged (Li et al., ECCV 2022, section 3.4).

    Keys as in the original's module of this name.

    Args:
        official_concat: quirk of the original, of batches of several samples: the offsets and weights of sample b are
            predicted from row b of the interleaved (before, present) pairs, not from its own BEV before.
    """

    def __init__(
        self, channels: int, heads: int, points: int, *, dropout: float = 0.0, official_concat: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.points, self.official_concat = heads, points, official_concat
        self.sampling_offsets = nn.Linear(2 * channels, 2 * heads * points * 2)
        self.attention_weights = nn.Linear(2 * channels, 2 * heads * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.dropout = Dropout(dropout)
        start_sampling(self.sampling_offsets, self.attention_weights, direction_bias(heads, 2, points))
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, position: Tensor, history: History, size: tuple[int, int]) -> Tensor:
        """(B,Q,C) queries and their positions (Q,C) to (B,Q,C)."""
        batch = x.shape[0]
        pair = history.pair(x)
        before = pair.flatten(0, 1)[:batch] if self.official_concat else pair[:, 0]
        query = torch.cat([before, x + position], -1)
        value = self.value_proj(pair.flatten(0, 1)).unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).unflatten(-1, (self.heads, 2, self.points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, 2, self.points)).softmax(-1)
        reference = history.reference
        scale = torch.tensor([size[1], size[0]], dtype=reference.dtype, device=x.device)
        # (B,Q,heads,2,points,..) to the layout of two images per sample, one level each
        locations = reference[:, :, :, None, None] + offsets.permute(0, 3, 1, 2, 4, 5).to(reference.dtype) / scale
        weights = weights.permute(0, 3, 1, 2, 4)
        out = ms_deform_attn(
            value, [size], locations.flatten(0, 1).unsqueeze(3), weights.flatten(0, 1).unsqueeze(3)
        ).unflatten(0, (batch, 2))
        return self.dropout(self.output_proj(out.mean(1).to(x.dtype))) + x
