"""What the device can do at most, measured in the same process: bytes copied and products of matrices.

Bandwidth: a copy of a buffer that is far larger than any cache; bytes read and bytes written both count. Peak: a square
product of matrices in each dtype, of the size that is fastest. Both are the best of many samples: limits, not averages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from portbev.backend import Backend
from portbev.bench.timing import Effort, Timed, Timer

COPIED = 256 << 20
"""Bytes of the buffer that is copied."""
SIDES = (256, 512, 1024, 2048, 4096, 8192)
ENOUGH = 0.03
"""Seconds of a product after which no larger one is tried."""


EFFORT = Effort((5, 25), 0.3)


@dataclass(frozen=True)
class Limits:
    """Attributes: ``bandwidth``: bytes/s; ``peaks``: dtype -> FLOP/s, without those that cannot be multiplied here."""

    bandwidth: float
    peaks: dict[str, float]

    def peak(self, dtype: str) -> float | None:
        """FLOP/s of a dtype; complex numbers and others without products count as float32."""
        return self.peaks.get(dtype, self.peaks.get("float32"))

    def as_json(self) -> dict[str, Any]:
        """Bytes/s and FLOP/s."""
        return {"copy_bytes_per_s": self.bandwidth, "matrix_flops_per_s": self.peaks}


def measure(backend: Backend, timer: Timer, dtypes: list[torch.dtype]) -> Limits:
    """The limits of the backend's device."""
    return Limits(bandwidth(backend, timer), peaks(backend, timer, dtypes))


def bandwidth(backend: Backend, timer: Timer, size: int = COPIED) -> float:
    """Bytes per second of a copy on the device."""
    source = torch.zeros(size // 4, device=backend.device())
    target = torch.ones_like(source)
    return 2 * size / _best(timer, Timed(lambda: target.copy_(source)))


def peaks(backend: Backend, timer: Timer, dtypes: list[torch.dtype]) -> dict[str, float]:
    """FLOP per second of products of matrices, by dtype."""
    found = {}
    for dtype in dtypes:
        best = 0.0
        try:
            for side in SIDES:
                a = torch.randn(side, side, device=backend.device()).to(dtype)
                product = Timed(lambda a=a: a @ a)  # type: ignore[misc]
                seconds = _best(timer, product)
                best = max(best, 2 * side**3 / seconds)
                if seconds > ENOUGH:
                    break
        except (RuntimeError, NotImplementedError):  # no products of this dtype, or no memory for larger ones
            pass
        if best:
            found[str(dtype).removeprefix("torch.")] = best
    return found


def _best(timer: Timer, one: Timed) -> float:
    timer.by_turns([one], EFFORT)
    return min(one.samples)
