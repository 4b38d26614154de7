"""Random generators keyed by what they are for.

A draw depends on its key alone (seed, purpose, epoch, sample ...), never on how many draws were made before it,
by which worker, or on how many ranks there are.
"""

from __future__ import annotations

import hashlib
from typing import Any, Protocol

import numpy as np


class Draws(Protocol):
    """What augmentation needs of a random generator; NumPy's Generator and RandomState both have it."""

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float: ...

    def choice(self, a: Any) -> Any: ...

    def permutation(self, x: int) -> Any: ...


def key_of(*parts: int | str) -> int:
    """128-bit integer that identifies ``parts``; the order and the type of the parts count."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")


def generator(*parts: int | str) -> np.random.Generator:
    """NumPy generator (Philox) keyed by ``parts``: ``generator(seed, "ida", epoch, index)``."""
    return np.random.Generator(np.random.Philox(key=key_of(*parts)))
