"""Sine encodings of positions in a map."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0


def sine_encoding(rows: int, columns: int, channels: int, *, normalize: bool, device: torch.device) -> Tensor:
    """(rows, columns, channels) encoding of each row, then of each column, sine and cosine interleaved.

    Encoded are the numbers 0, 1, 2 ..., or with ``normalize`` (n + 0.5) / count * 2 pi, as in mmdet's
    SinePositionalEncoding with offset -0.5 and eps 1e-6.
    """
    axes = (_encode(count, channels // 2, normalize) for count in (rows, columns))
    y, x = (axis.to(device, non_blocking=True) for axis in axes)
    shape = (rows, columns, -1)
    return torch.cat([y[:, None].expand(shape), x[None].expand(shape)], -1)


def _encode(count: int, channels: int, normalize: bool) -> Tensor:
    """(count, channels), on the host."""
    position = torch.arange(count, dtype=torch.float32)
    if normalize:
        position = (position + 0.5) / (count + 1e-6) * (2 * math.pi)
    pair = torch.arange(channels, dtype=torch.float32).div(2, rounding_mode="floor")
    angle = position[:, None] / TEMPERATURE ** (2 * pair / channels)
    return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], -1).flatten(1)
