"""Multi-head attention and feed-forward layers as DETR-like decoders use them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from portbev.nn.dropout import Dropout


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., NeurIPS 2017), batch first, the same arithmetic on every device.

    Keys ``in_proj_weight``, ``in_proj_bias``, ``out_proj.*`` as in :class:`torch.nn.MultiheadAttention`; no fused
    kernel is called, because a device that has another one would compute something else.

    Args:
        channels: C, a multiple of ``heads``.
        dropout: on the attention weights, with a mask that is the same on every device.
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
        if key is query:  # self-attention: one product for both
            weight, bias = self.in_proj_weight[: 2 * channels], self.in_proj_bias[: 2 * channels]
            q, k = functional.linear(query, weight, bias).split(channels, -1)
        else:
            q = functional.linear(query, self.in_proj_weight[:channels], self.in_proj_bias[:channels])
            middle = slice(channels, 2 * channels)
            k = functional.linear(key, self.in_proj_weight[middle], self.in_proj_bias[middle])
        v = functional.linear(value, self.in_proj_weight[2 * channels :], self.in_proj_bias[2 * channels :])
        q, k, v = (self._split(x) for x in (q * (channels // self.heads) ** -0.5, k, v))
        weights = self.dropout((q @ k.transpose(-2, -1)).softmax(-1))
        out = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return self.out_proj(out)

    def _split(self, x: Tensor) -> Tensor:
        """(B,K,C) to (B,heads,K,C/heads)."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear, ReLU, dropout, linear, dropout, and the input added.

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
    """First bias of sampling offsets: head h looks in direction 2 pi h / heads, point p that many pixels far, plus one.

    Returns:
        (heads * groups * points * 2,) float32; ``groups`` are levels, queue elements or their products
        (Zhu et al., ICLR 2021, section 4.1).
    """
    angle = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
    direction = torch.stack([angle.cos(), angle.sin()], -1)
    direction = direction / direction.abs().amax(-1, keepdim=True)
    steps = torch.arange(1, points + 1, dtype=torch.float32)
    return (direction[:, None, None] * steps[None, None, :, None]).expand(heads, groups, points, 2).flatten()
