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
WIDTH = 37
"""Columns of a projection: a prime, so that what lies a stride apart in a tensor does not lie in one column."""
COLUMNS = PROJECTIONS * WIDTH
"""Elements of a row: an element's sign is that of its row in its projection times that of its column."""
ROWS = 888
"""Rows that are worked on at once: two megabytes of float32, which stay in the cores' caches."""
SMALL = 1 << 14
"""A tensor of no more elements has a sign and a projection of its own for each."""
WORDS = ROWS * COLUMNS // 2
"""A word's multiplier is that of its block times that of its place in it, in blocks of so many words."""
_GOLDEN = 0x9E3779B97F4A7C15
_ALL = (1 << 64) - 1
_COLUMN, _ROW, _PLACE, _BLOCK, _ELEMENT = (n << 60 for n in range(1, 6))  # streams that never meet


def mix64(counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 random bits for each counter (n,), uint64."""
    z = counters * np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _words(stream: int, count: int) -> NDArray[np.uint64]:
    return mix64(np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream))


@lru_cache(maxsize=8)
def column_signs(device: torch.device) -> Tensor:
    """(PROJECTIONS, WIDTH) of +-1, float64: of the columns of each projection."""
    signs = 1.0 - 2.0 * (_words(_COLUMN, COLUMNS) & np.uint64(1)).astype(np.float64)
    return torch.from_numpy(signs).view(PROJECTIONS, WIDTH).to(device)


def row_signs(first: int, rows: int, device: torch.device) -> Tensor:
    """(PROJECTIONS, 1, rows) of +-1, float64, of the rows from ``first`` on: each projection has its own."""
    needed = 1 << max(10, (first + rows - 1).bit_length())
    return _all_row_signs(needed, device)[:, None, first : first + rows]


@lru_cache(maxsize=32)
def _all_row_signs(rows: int, device: torch.device) -> Tensor:
    bits = (_words(_ROW, rows) >> np.arange(PROJECTIONS, dtype=np.uint64)[:, None]) & np.uint64(1)
    return torch.from_numpy(1.0 - 2.0 * bits.astype(np.float64)).to(device)


@lru_cache(maxsize=1)
def element_signs() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(SMALL,) the projection that an element belongs to, and (SMALL,) its sign."""
    words = _words(_ELEMENT, SMALL)
    return (words >> np.uint64(60)).astype(np.int64), 1.0 - 2.0 * (words & np.uint64(1)).astype(np.float64)


@lru_cache(maxsize=8)
def element_matrix(device: torch.device) -> Tensor:
    """(PROJECTIONS, SMALL) float64: the same as a matrix, for a device."""
    places, signs = element_signs()
    matrix = torch.zeros(PROJECTIONS, SMALL, dtype=torch.float64)
    matrix[torch.from_numpy(places), torch.arange(SMALL)] = torch.from_numpy(signs)
    return matrix.to(device)


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
