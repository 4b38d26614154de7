"""Where two dumps part: what :mod:`portbev.parity.dumps` finds, with what is around it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

from portbev.parity.dumps.alignment import align
from portbev.parity.dumps.bands import FACTOR, common_band
from portbev.parity.dumps.findings import Finding, Judgement, judge
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
    def runs(self) -> tuple[Counter[str], Counter[str]]:
        """How many times each module was run, in a and in b."""
        a, b = (
            Counter(r.key.module for r in side.records if r.key[1:4] == ("", "output", 0)) for side in (self.a, self.b)
        )
        return a, b

    @cached_property
    def judgement(self) -> Judgement:
        """What :mod:`portbev.parity.dumps` says of each record."""
        return judge(self.a, self.b, self.alignment, bands=self._bands)

    @cached_property
    def causes(self) -> list[Pair]:
        """Findings that nothing explains, in the order of a's step; what was drawn goes before what was made of it."""
        found = self.judgement.findings
        first: dict[tuple[object, ...], int] = {}
        for finding in found:
            first.setdefault(_call_of(finding), finding.a.n)
        found = sorted(found, key=lambda one: (first[_call_of(one)], one.a.key.role != "draw", one.a.n))
        pairs = [self.pairs.get(one.a.n) or Pair(self.rank, one.a, one.b, math.inf, 0.0) for one in found]
        return [self.given(pair) or pair for pair in pairs]

    def given(self, pair: Pair) -> Pair | None:
        """The input that each side made by other operators, if there is one and it differs; None otherwise.

        Such results have other keys and were not compared: what uses them is the first that was.
        """
        if pair.a.key.role not in ("output", "written") or len(pair.a.inputs) != len(pair.b.inputs):
            return None
        for n, m in zip(pair.a.inputs, pair.b.inputs, strict=True):
            one, two = _content(self.a, n), _content(self.b, m)
            if self.alignment.partner.get(one.n) == two.n or {one.key.role, two.key.role} - {"output", "written"}:
                continue
            found = self._pair(one, two)
            if found is not None and found.differs:
                return found
        return None

    def before(self, record: Record) -> set[int]:
        """The places in a of ``record`` and of all that it follows from."""
        seen, waiting = {record.n}, [record.n]
        while waiting:
            one = self.a.records[waiting.pop()]
            for n in one.inputs if one.same is None else (*one.inputs, one.same):
                if n not in seen:
                    seen.add(n)
                    waiting.append(n)
        return seen

    def maker(self, record: Record) -> Record:
        """The operator's result of b that the module's result ``record`` is; ``record`` where it is none."""
        while not record.key.operator and record.same is not None:
            record = self.b.records[record.same]
        return record

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
        mine, yours = (  # what was measured is told of the record that has the content
            replace(record, responses=side.content(record).responses) for side, record in ((self.a, one), (self.b, two))
        )
        allowed = 0.0 if one.key.role == "draw" else common_band((mine, sa), (yours, sb))
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


def _content(records: RankRecords, n: int) -> Record:
    """Record ``n``, or what it is a view or a copy of."""
    record = records.records[n]
    while record.sketch is None and (record.same is not None or record.inputs):
        record = records.records[record.inputs[0] if record.same is None else record.same]
    return record


def _with_responses(side: RankRecords, other: RankRecords) -> RankRecords:
    """A dump made without bands is judged by those of the other."""
    known = {key: record.responses for key, record in other.by_key.items()}
    return RankRecords(side.rank, [replace(r, responses=known.get(r.key, ())) for r in side.records])


def _call_of(finding: Finding) -> tuple[object, ...]:
    """Results of one call stand side by side."""
    key = finding.a.key
    return (key.module, key.operator, key.call, finding.a.inputs) if key.operator else (finding.a.n,)
