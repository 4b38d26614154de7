"""Random generators with a key that says what they are used for.

A draw depends on its key alone (seed, purpose, epoch, sample and so on). It does not depend on earlier draws, on the
worker that draws, or on the number of ranks.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np


class Draws(Protocol):
    """The methods of a random generator that augmentation uses. NumPy's Generator and RandomState have them."""

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float: ...

    def choice(self, a: Any) -> Any: ...

    def permutation(self, x: int) -> Any: ...


def key_of(*parts: int | str) -> int:
    """A 128-bit integer that identifies ``parts``, including their order and their types."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(*parts: int | str) -> np.random.Generator:
    """A NumPy generator (Philox) with the key ``parts``, for example ``generator(seed, "ida", epoch, index)``."""
    return np.random.Generator(np.random.Philox(key=key_of(*parts)))
