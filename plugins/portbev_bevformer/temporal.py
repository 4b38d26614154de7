"""Temporal self-attention: each BEV query samples the BEV of the previous frame and that of the present one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from portbev.nn.attention import direction_bias
from portbev.nn.deform_attention import init_sampling, predicted
from portbev.nn.dropout import Dropout
from portbev.ops import deform_attn


@dataclass(frozen=True)
class History:
    """The values and reference points of temporal self-attention, the same for all layers of the encoder.

    Attributes:
        value: (B,2,Q,C) the previous BEV and the encoder's input; None if no sample has a previous frame.
        has_previous: (B,) bool, which samples have a previous frame; None if all have.
        reference: (B,Q,2,1,2) reference points (x, y) in the two BEVs, in units of the map's width and height.
    """

    value: Tensor | None
    has_previous: Tensor | None
    reference: Tensor

    def values_for(self, x: Tensor) -> Tensor:
        """(B,2,Q,C) values for a layer with input ``x`` (B,Q,C); ``x`` twice for samples without a previous frame."""
        if self.value is None:
            return torch.stack([x, x], 1)
        if self.has_previous is None:
            return self.value
        return torch.where(self.has_previous[:, None, None, None], self.value, torch.stack([x, x], 1))


class TemporalSelfAttention(nn.Module):
    """Deformable attention over two BEVs, averaged (Li et al., ECCV 2022, section 3.4).

    The two BEVs are the levels of one image, with a softmax each. Keys as in the original's module of this name.

    Args:
        official_concat: quirk of the original in batches of several samples: offsets and weights of sample b are
            predicted from row b of the interleaved (previous, present) BEVs, not from the previous BEV of sample b.
    """

    def __init__(
        self, channels: int, heads: int, points: int, *, dropout: float = 0.0, official_concat: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.levels, self.points, self.official_concat = heads, 2, points, official_concat
        self.sampling_offsets = nn.Linear(2 * channels, 2 * heads * points * 2)
        self.attention_weights = nn.Linear(2 * channels, 2 * heads * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.dropout = Dropout(dropout)
        init_sampling(self.sampling_offsets, self.attention_weights, direction_bias(heads, 2, points))
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, position: Tensor, history: History, size: tuple[int, int]) -> Tensor:
        """Queries (B,Q,C) and their positional encodings (Q,C) to (B,Q,C); ``size`` is (rows, columns) of the BEV."""
        batch = x.shape[0]
        values = history.values_for(x)
        previous = values.flatten(0, 1)[:batch] if self.official_concat else values[:, 0]
        query = torch.cat([previous, x + position], -1)
        value = self.value_proj(values.flatten(1, 2)).unflatten(-1, (self.heads, -1))
        offsets, logits = predicted(self, query)
        out = deform_attn(value, [size, size], offsets, logits, history.reference, per_level=True)
        return self.dropout(self.output_proj(out.to(x.dtype))) + x
