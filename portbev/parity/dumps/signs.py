"""Random words by counter, the same on every machine: signs of the projections, multipliers of the hash.

Source: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (OOPSLA 2014), the function mix64.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PROJECTIONS = 16
COLUMNS = 512
"""An element's sign is that of its row times that of its column, in rows of so many elements."""
WORDS = 1 << 17
"""A word's multiplier is that of its block times that of its place in it, in blocks of so many words."""
_GOLDEN = 0x9E3779B97F4A7C15
_ALL = (1 << 64) - 1
_COLUMN, _ROW, _PLACE, _BLOCK = (1 << 60, 2 << 60, 3 << 60, 4 << 60)  # streams that never meet


def mix64(counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 random bits for each counter (n,), uint64."""
    z = counters * np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _words(stream: int, count: int) -> NDArray[np.uint64]:
    return mix64(np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream))


def _signs(stream: int, count: int) -> Tensor:
    """(PROJECTIONS, count) of +-1, float64: bit k of the counter's word is the sign of projection k."""
    bits = (_words(stream, count) >> np.arange(PROJECTIONS, dtype=np.uint64)[:, None]) & np.uint64(1)
    return torch.from_numpy(1.0 - 2.0 * bits.astype(np.float64))


@lru_cache(maxsize=8)
def column_signs(device: torch.device) -> Tensor:
    """(PROJECTIONS, COLUMNS) of +-1, float64."""
    return _signs(_COLUMN, COLUMNS).to(device)


def row_signs(first: int, rows: int, device: torch.device) -> Tensor:
    """(PROJECTIONS, rows) of +-1, float64, of the rows from ``first`` on."""
    needed = 1 << max(10, (first + rows - 1).bit_length())
    return _all_row_signs(needed, device)[:, first : first + rows]


@lru_cache(maxsize=32)
def _all_row_signs(rows: int, device: torch.device) -> Tensor:
    return _signs(_ROW, rows).to(device)


@lru_cache(maxsize=1)
def small_signs() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same as arrays: (PROJECTIONS, COLUMNS), and (PROJECTIONS, 1024) of the first rows."""
    return _signs(_COLUMN, COLUMNS).numpy(), _signs(_ROW, 1024).numpy()


@lru_cache(maxsize=1)
def place_words() -> NDArray[np.int64]:
    """(WORDS,) odd numbers."""
    return (_words(_PLACE, WORDS) | np.uint64(1)).view(np.int64)


@lru_cache(maxsize=8)
def place_multipliers(device: torch.device) -> Tensor:
    """(WORDS,) odd numbers, int64."""
    return torch.from_numpy(place_words()).to(device)


@lru_cache(maxsize=256)
def block_multipliers(count: int) -> tuple[int, ...]:
    """``count`` odd numbers of 64 bits."""
    return tuple((_words(_BLOCK, count) | np.uint64(1)).tolist())


@lru_cache(maxsize=64)
def dtype_word(dtype: str) -> int:
    """64 bits that stand for a dtype."""
    return int.from_bytes(hashlib.sha256(dtype.encode()).digest()[:8], "little")


def mix_one(counter: int) -> int:
    """:func:`mix64` of one number."""
    z = counter * _GOLDEN & _ALL
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _ALL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _ALL
    return z ^ (z >> 31)
