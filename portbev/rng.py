"""Random generators with a key that says what they are used for.

A draw depends on its key alone (seed, purpose, epoch, sample and so on). It does not depend on earlier draws, on the
worker that draws, or on the number of ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np

Told = Callable[[tuple[int | str, ...], str, Any], None]
"""Gets the key of a generator, the method that was called, and what it returned."""
_TOLD: ContextVar[Told | None] = ContextVar("portbev.rng", default=None)


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
    bits, told = np.random.Philox(key=key_of(*parts)), _TOLD.get()
    return np.random.Generator(bits) if told is None else _Watched(bits, parts, told)


@contextmanager
def watched_draws(told: Told) -> Iterator[None]:
    """Inside, each draw from a new :func:`generator` of this thread is told; it is the same draw as without."""
    before = _TOLD.set(told)
    try:
        yield
    finally:
        _TOLD.reset(before)


class _Watched(np.random.Generator):
    """Tells of what is drawn."""

    def __init__(self, bits: np.random.BitGenerator, parts: tuple[int | str, ...], told: Told) -> None:
        super().__init__(bits)
        self._parts, self._told = parts, told

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name.startswith("_") or not callable(value) or name in ("spawn", "bit_generator"):
            return value

        def drawn(*args: Any, **kwargs: Any) -> Any:
            result = value(*args, **kwargs)
            self._told(self._parts, name, args[0] if name == "shuffle" else result)
            return result

        return drawn
