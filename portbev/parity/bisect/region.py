"""Where two dumps part: what :mod:`portbev.parity.dumps` finds, with what is around it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from portbev.parity.dumps.alignment import align
from portbev.parity.dumps.bands import FACTOR, common_band
from portbev.parity.dumps.findings import Finding, judge
from portbev.parity.dumps.reading import Dump, RankRecords
from portbev.parity.dumps.record import Record
from portbev.parity.dumps.sketch import distance

_EMPTY = ("view", "copy", "host")  # roles without a content of their own


@dataclass(frozen=True)
class Pair:
    """A record of both dumps.

    Attributes:
        distance: Euclidean; infinite where shapes or what is not finite differ.
        band: how far rounding moves it.
    """

    rank: int
    a: Record
    b: Record
    distance: float
    band: float

    @property
    def differs(self) -> bool:
        """By more than rounding does."""
        return self.distance > FACTOR * self.band


class Aligned:
    """The records of one rank of two dumps, by key."""

    def __init__(self, a: RankRecords, b: RankRecords, *, bands: bool) -> None:
        self.rank, self.a, self.b, self._bands = a.rank, a, b, bands
        self.alignment = align(a, b)
        self._to_a = {other: n for n, other in self.alignment.partner.items()}

    @cached_property
    def pairs(self) -> dict[int, Pair]:
        """Pairs that have a content, by the place in a."""
        pairs = (self._pair(self.a.records[n], self.b.records[m]) for n, m in self.alignment.partner.items())
        return {pair.a.n: pair for pair in pairs if pair is not None}

    def pair_of_b(self, n: int) -> Pair | None:
        """The pair that record ``n`` of b belongs to."""
        at = self._to_a.get(n)
        return None if at is None else self.pairs.get(at)

    @cached_property
    def causes(self) -> list[Pair]:
        """Findings that nothing explains, in the order of a's step; what was drawn goes before what was made of it."""
        found = judge(self.a, self.b, self.alignment, bands=self._bands).findings
        first: dict[tuple[object, ...], int] = {}
        for finding in found:
            first.setdefault(_call_of(finding), finding.a.n)
        found = sorted(found, key=lambda one: (first[_call_of(one)], one.a.key.role != "draw", one.a.n))
        return [self.pairs.get(one.a.n) or Pair(self.rank, one.a, one.b, math.inf, 0.0) for one in found]

    def differing(self, role: str) -> list[Pair]:
        """Pairs of a role that differ by more than rounding."""
        return [pair for pair in self.pairs.values() if pair.a.key.role == role and pair.differs]

    def equal(self, role: str) -> int:
        """How many pairs of a role are equal bit for bit."""
        return sum(pair.a.key.role == role and pair.distance == 0 for pair in self.pairs.values())

    def only(self, side: str, module: str) -> list[Record]:
        """Results of operators that one side alone has directly in ``module``."""
        records = self.alignment.only_a if side == "a" else self.alignment.only_b
        return [record for record in records if record.key.module == module and record.key.operator]

    def _pair(self, one: Record, two: Record) -> Pair | None:
        if one.key.role in _EMPTY:
            return None
        sa, sb = self.a.sketch(one), self.b.sketch(two)
        if sa is None or sb is None:
            differs = one.key.role == "batch" and one.arguments != two.arguments
            return Pair(self.rank, one, two, math.inf if differs else 0.0, 0.0)
        apart = distance(sa, sb)
        allowed = 0.0 if one.key.role == "draw" else common_band((one, sa), (two, sb))
        return Pair(self.rank, one, two, math.inf if apart is None else apart, allowed or 0.0)


def aligned(a: Dump, b: Dump) -> list[Aligned]:
    """Rank by rank."""
    sketched = a.header.level == b.header.level == "sketch"
    ranks = []
    for mine, yours in zip(a.ranks, b.ranks, strict=False):
        one = mine if a.header.reruns else _with_responses(mine, yours)
        two = yours if b.header.reruns else _with_responses(yours, mine)
        ranks.append(Aligned(one, two, bands=sketched and bool(a.header.reruns or b.header.reruns)))
    return ranks


def _with_responses(side: RankRecords, other: RankRecords) -> RankRecords:
    """A dump made without bands is judged by those of the other."""
    known = {key: record.responses for key, record in other.by_key.items()}
    return RankRecords(side.rank, [replace(r, responses=known.get(r.key, ())) for r in side.records])


def _call_of(finding: Finding) -> tuple[object, ...]:
    """Results of one call stand side by side."""
    key = finding.a.key
    return (key.module, key.operator, key.call, finding.a.inputs) if key.operator else (finding.a.n,)
