"""What an operator adds by itself: its difference, over the rounding that it does to the inputs that it had.

A record's band holds all the rounding that came before it. A fault in one operator near the end of a long chain may lie
within it, and shows further down the step, or nowhere. So the band is scaled to what came in: where two dumps' inputs
are closer to each other than the bands allow, the operator's result must be closer too. What it does to rounding is
known from the steps that were taken again: its response over its inputs' responses. A difference of more than
:data:`~portbev.parity.dumps.bands.FACTOR` times the scaled band is an outlier: the operator made it.

A multiple is told more sharply. No rounding makes one tensor a multiple of another: one that is, by more than
:data:`MULTIPLE` units in the last place, is an outlier too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from portbev.parity.bisect.differences import Difference
from portbev.parity.bisect.numeric import users
from portbev.parity.bisect.region import Aligned, Pair
from portbev.parity.dumps.bands import FACTOR, half_ulp, is_sparse
from portbev.parity.dumps.findings import State
from portbev.parity.dumps.record import Record

MULTIPLE = 8.0
NEARBY = 12
"""Calls that are computed again where what the files accuse is right, or nothing is accused."""
_GIVEN = frozenset({"parameter", "buffer"})
_JUDGED = frozenset({"output", "written", "grad", "parameter.local"})
"""Roles of what an operator gives. An update is left out: an optimizer divides by what may be next to nothing."""


@dataclass(frozen=True)
class Outlier:
    """A record within its band, or the first one beyond it, to which its own operator added more than rounding.

    Attributes:
        ratio: of the difference to what the operator's own rounding is.
    """

    pair: Pair
    ratio: float
    why: str


def outliers(aligned: Aligned) -> list[Outlier]:
    """In the order of a's step; none of them follows from another or from an edge that was crossed."""
    found: list[Outlier] = []
    accused: set[int] = set()
    for pair, ratio in local_ratios(aligned):
        record = pair.a
        if accused.intersection(followed(record)):
            accused.add(record.n)
            continue
        one, two = aligned.a.sketch(record), aligned.b.sketch(pair.b)
        if one is None or two is None:
            continue
        why = ""
        if ratio > FACTOR and not is_sparse(one, two, pair.band):
            why = f"{ratio:.0f} times what its operator's own rounding makes of inputs that are as close as these"
        elif ratio > MULTIPLE:
            difference = Difference.of(one, two)
            if difference is not None and one.count > 16 and difference.is_multiple:
                why = "it is a multiple, which no rounding makes"
        if why:
            found.append(Outlier(pair, ratio, why))
            accused.add(record.n)
            if record.same is not None:
                accused.add(record.same)
    return found


def local_ratios(aligned: Aligned) -> Iterator[tuple[Pair, float]]:
    """Results and gradients with their difference over the operator's own rounding.

    What follows from a finding or from an edge that was crossed is left out.
    """
    states = aligned.judgement.states
    ratio: dict[int, float] = {}  # of the difference to the band
    unit: dict[int, float] = {}  # of a unit in the last place to the band
    partner = aligned.alignment.partner
    for record in aligned.a.records:
        inputs = followed(record)
        # a factor that is a parameter moves a product by as much as the other factor does, and is exact in both dumps
        computed = [n for n in inputs if aligned.a.records[n].key.role not in _GIVEN] or inputs
        ratio[record.n] = came = max((ratio[n] for n in computed), default=0.0)
        unit[record.n] = least = max((unit[n] for n in computed), default=0.0)
        pair = aligned.pairs.get(record.n)
        sketch = aligned.a.sketch(record)
        if pair is None or not pair.band or sketch is None or not sketch.is_floating:
            continue
        if record.same is not None and partner.get(record.same) == pair.b.same:
            continue
        ratio[record.n] = pair.distance / pair.band
        unit[record.n] = 2 * half_ulp(sketch) / pair.band
        if record.key.role not in _JUDGED or max((states[n] for n in inputs), default=State.EQUAL) >= State.EDGE:
            continue
        if states[record.n] == State.EDGE:
            continue
        allowed = max(pair.band * min(1.0, max(came, least)), half_ulp(sketch))
        yield pair, pair.distance / allowed


def followed(record: Record) -> tuple[int, ...]:
    """What a record follows from; of a module's result also the operator's inside that it is."""
    return record.inputs if record.same is None else (*record.inputs, record.same)


def nearby(aligned: Aligned, pair: Pair | None) -> list[tuple[Record, bool]]:
    """Calls of b's operators that stand out most by what they added, of those that ``pair`` follows from.

    Returns:
        Records of their results, and whether it is their backward that stands out.
    """
    before = None if pair is None else aligned.before(pair.a)
    ranked = [
        (ratio, one)
        for one, ratio in local_ratios(aligned)
        if ratio > 0 and (before is None or one.a.n in before) and (pair is None or one.a.n != pair.a.n)
    ]
    found: dict[tuple[int, bool], tuple[Record, bool]] = {}
    for _, one in sorted(ranked, key=lambda item: -item[0]):
        backward = one.a.key.role in ("grad", "parameter.local")
        for call in users(aligned, one.b) if backward else [aligned.maker(one.b)]:
            if call.key.operator:
                found.setdefault((call.n, backward), (call, backward))
        if len(found) >= NEARBY:
            break
    return list(found.values())[:NEARBY]
