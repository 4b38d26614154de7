"""Multi-head attention and feed-forward layers as DETR-like decoders use them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from portbev.nn.dropout import Dropout


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., NeurIPS 2017), batch first.

    It calls no fused kernel, so that the arithmetic is the same on every device: fused kernels differ between devices.
    Keys ``in_proj_weight``, ``in_proj_bias`` and ``out_proj.*`` as in :class:`torch.nn.MultiheadAttention`.

    Args:
        channels: C, a multiple of ``heads``.
        dropout: probability of dropping an attention weight; the mask is the same on every device.
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(B,Q,C), (B,K,C), (B,K,C) to (B,Q,C)."""
        channels = query.shape[-1]
        if key is query:  # self-attention: one matrix product projects both
            weight, bias = self.in_proj_weight[: 2 * channels], self.in_proj_bias[: 2 * channels]
            q, k = functional.linear(query, weight, bias).split(channels, -1)
        else:
            q = functional.linear(query, self.in_proj_weight[:channels], self.in_proj_bias[:channels])
            key_rows = slice(channels, 2 * channels)
            k = functional.linear(key, self.in_proj_weight[key_rows], self.in_proj_bias[key_rows])
        v = functional.linear(value, self.in_proj_weight[2 * channels :], self.in_proj_bias[2 * channels :])
        q, k, v = (self._split_heads(x) for x in (q * (channels // self.heads) ** -0.5, k, v))
        weights = self.dropout((q @ k.transpose(-2, -1)).softmax(-1))
        out = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return self.out_proj(out)

    def _split_heads(self, x: Tensor) -> Tensor:
        """(B,K,C) to (B,heads,K,C/heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear, ReLU, dropout, linear and dropout; the input is added to the result.

    Keys ``layers.0.0`` and ``layers.1`` (those of mmcv's FFN).
    """

    def __init__(self, channels: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(inplace=True), Dropout(dropout)),
            nn.Linear(hidden, channels),
            Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(...,C) to (...,C)."""
        return x + self.layers(x)


def direction_bias(heads: int, groups: int, points: int) -> Tensor:
    """Initial bias of the layer that predicts sampling offsets (Zhu et al., ICLR 2021, section 4.1).

    Head h samples in the direction of angle 2 pi h / heads, and its point p (from 0) at a distance of p + 1 pixels.

    Args:
        groups: number of maps that a query samples: levels, frames of a queue, or their product.

    Returns:
        (heads * groups * points * 2,) float32, (x, y) of each offset in pixels.
    """
    angle = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
    direction = torch.stack([angle.cos(), angle.sin()], -1)
    direction = direction / direction.abs().amax(-1, keepdim=True)
    distance = torch.arange(1, points + 1, dtype=torch.float32)
    return (direction[:, None, None] * distance[None, None, :, None]).expand(heads, groups, points, 2).flatten()
