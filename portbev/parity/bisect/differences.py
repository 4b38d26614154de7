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


FORMATS = {"bf16": 8, "fp16": 11, "TF32": 11}
"""Significant bits of a number, the leading one included."""
FEW = 12
"""So few bits no float32 arithmetic leaves by itself in numbers that are not whole."""
SHIFTED = 0.4
"""A mean of so much of the root mean square: roundings have both signs."""


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
        shift: mean of the difference over its root mean square.
        dtypes: where they differ.
        bits: significant bits of the numbers of each, where known.
    """

    relative: float
    factor: float
    rest: float
    shift: float
    dtypes: tuple[str, str] | None
    bits: tuple[int | None, int | None]

    @classmethod
    def of(cls, a: Sketch, b: Sketch) -> Difference | None:
        """None where shapes differ or nothing but hashes is known."""
        apart, scaled = distance(a, b), proportion(a.projections, b.projections)
        if apart is None or not math.isfinite(apart) or scaled is None or not a.norm:
            return None
        dtypes = (a.dtype, b.dtype) if a.dtype != b.dtype else None
        shift = ((b.mean or 0.0) - (a.mean or 0.0)) * math.sqrt(a.count) / apart if apart else 0.0
        return cls(apart / a.norm, scaled.factor, scaled.rest, shift, dtypes, (a.bits, b.bits))

    @property
    def is_multiple(self) -> bool:
        return self.rest < 0.05 * abs(self.factor - 1)

    @property
    def fewer(self) -> tuple[str, int] | None:
        """The side whose numbers alone have so few significant bits that they were rounded to them, and how many."""
        a, b = self.bits
        if b is not None and b <= FEW and (a is None or a > FEW):
            return "b", b
        if a is not None and a <= FEW and (b is None or b > FEW):
            return "a", a
        return None


def reading(found: Difference) -> tuple[Kind, str, str]:
    """What kind a difference looks like, the line that says why, and the side that is wrong where that shows."""
    if found.dtypes is not None:
        return "reduced precision", f"it is {found.dtypes[0]} in a and {found.dtypes[1]} in b", ""
    if found.fewer is not None:
        side, bits = found.fewer
        names = " or ".join(name for name, count in FORMATS.items() if count == bits)
        line = f"all its numbers in {side} have {bits} significant bits or fewer{f' ({names})' if names else ''}"
        return "reduced precision", f"{line}, those of the other side have more", side
    if found.is_multiple:
        line = f"b is {found.factor:.8g} times a, and {found.rest:.0e} of it is left over: no rounding does that"
        return "kernel", line, ""
    if FEWEST < found.relative < MOST and abs(found.shift) < SHIFTED:
        bits = round(-math.log2(found.relative)) - 1
        line = f"the difference is irregular and has the size of a rounding to about {bits} bits"
        return "reduced precision", line, ""
    if FEWEST < found.relative < MOST:
        line = f"the difference has a sign: its mean is {abs(found.shift):.1f} of its root mean square"
        return "kernel", line, ""
    line = f"the difference is {found.relative:.1e} of its norm: larger or more regular than a rounding"
    return "kernel", line, ""
