"""How many significant bits the numbers of a tensor have: a fact that shows rounding to a narrower format."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SAMPLED = 64, 64
"""Runs of elements that are looked at, evenly spread, and the length of each: neighbours are read faster."""
FEWEST = 16
"""Numbers other than zero that it takes to say anything."""
_FORMATS = {torch.float32: (np.uint32, 23), torch.float64: (np.uint64, 52)}


def significant_bits(flat: Tensor) -> int | None:
    """The most significant bits, leading one included, that any sampled element of ``flat`` (n,) needs.

    A tensor that was rounded to bf16 has 8, to fp16 or TF32 11. Of 16 numbers of full precision it is below 12 by
    chance once in 2**190 times.

    Returns:
        None for other dtypes than float32 and float64, other devices than the host, and too few numbers.
    """
    if flat.device.type != "cpu" or flat.dtype not in _FORMATS or flat.numel() < FEWEST:
        return None
    words, mantissa = _FORMATS[flat.dtype]
    runs, length = SAMPLED
    bits = flat.numpy().view(words)
    if bits.size > runs * length:
        bits = bits[: bits.size // runs * runs].reshape(runs, -1)[:, :length]
    if np.count_nonzero(bits) < FEWEST:
        return None
    low = int(np.bitwise_or.reduce(bits, axis=None)) & ((1 << mantissa) - 1)
    return mantissa + 1 - (low & -low).bit_length() + 1 if low else 1
