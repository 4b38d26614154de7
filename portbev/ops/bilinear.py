"""Bilinear sampling as papers write it: a sum over all pixels, most of which have no share."""

from __future__ import annotations

import torch
from torch import Tensor


def bilinear_shares(position: Tensor, size: int) -> Tensor:
    """How much of each of ``size`` pixels in a row a sample at ``position`` takes: max(0, 1 - distance).

    A pixel's centre is at its number. Outside of the row there is nothing to take; NaN and infinity are outside.

    Args:
        position: any shape, in pixels.

    Returns:
        (..., size).
    """
    pixels = torch.arange(size, dtype=position.dtype, device=position.device)
    return (1 - (position.nan_to_num(-2.0)[..., None] - pixels).abs()).clamp(min=0)
