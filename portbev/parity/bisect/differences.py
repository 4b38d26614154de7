"""What the sketches of two tensors say of how they differ: by a factor, by an offset, or in the last bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from portbev.parity.bisect.verdict import Kind
from portbev.parity.dumps.sketch import Sketch, distance

FEWEST, MOST = 2.0**-15, 2.0**-6
"""Relative sizes between which a difference may be the rounding of inputs to fp16, TF32 or bf16: an eighth of half a
unit in the last of 11 bits, to eight times that of 8 bits."""


@dataclass(frozen=True)
class Proportion:
    """``b`` as a multiple of ``a``: the factor, and the rest over the norm of ``a``."""

    factor: float
    rest: float


def proportion(a: Sequence[float], b: Sequence[float]) -> Proportion | None:
    """By least squares over the projections; None without any."""
    square = sum(x * x for x in a)
    if not a or len(a) != len(b) or not square:
        return None
    factor = sum(x * y for x, y in zip(a, b, strict=True)) / square
    rest = sum((y - factor * x) ** 2 for x, y in zip(a, b, strict=True))
    return Proportion(factor, math.sqrt(rest / square))


@dataclass(frozen=True)
class Difference:
    """How tensor ``b`` differs from ``a``.

    Attributes:
        relative: Euclidean distance over the norm of ``a``.
        factor: the multiple of ``a`` that is nearest to ``b``; rest: what is left, over the norm of ``a``.
        dtypes: where they differ.
    """

    relative: float
    factor: float
    rest: float
    dtypes: tuple[str, str] | None

    @classmethod
    def of(cls, a: Sketch, b: Sketch) -> Difference | None:
        """None where shapes differ or nothing but hashes is known."""
        apart, scaled = distance(a, b), proportion(a.projections, b.projections)
        if apart is None or not math.isfinite(apart) or scaled is None or not a.norm:
            return None
        dtypes = (a.dtype, b.dtype) if a.dtype != b.dtype else None
        return cls(apart / a.norm, scaled.factor, scaled.rest, dtypes)

    @property
    def is_multiple(self) -> bool:
        return self.rest < 0.05 * abs(self.factor - 1)


def reading(found: Difference) -> tuple[Kind, str]:
    """What kind a difference looks like, and the line that says why."""
    if found.dtypes is not None:
        return "reduced precision", f"it is {found.dtypes[0]} in a and {found.dtypes[1]} in b"
    if found.is_multiple:
        return (
            "kernel",
            f"b is {found.factor:.6g} times a, and {found.rest:.0e} of it is left over: no rounding does that",
        )
    if FEWEST < found.relative < MOST:
        bits = round(-math.log2(found.relative)) - 1
        return "reduced precision", f"the difference is irregular and has the size of a rounding to about {bits} bits"
    return "kernel", f"the difference is {found.relative:.1e} of its norm: larger or more regular than a rounding"
