"""Which differences of two dumps are beyond rounding, which of them follow from others, and which is the cause.

Records are judged in the order of the first dump. A record *differs* where its distance is beyond its band. It is
*explained* where something that it was computed from differs or is explained. The first one that differs and is not
explained is the cause: all that it was computed from agrees within rounding, and it does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from math import inf

from portbev.parity.dumps.alignment import Alignment
from portbev.parity.dumps.arguments import same_arguments
from portbev.parity.dumps.bands import FACTOR, SUSPECT, common_band, is_sparse
from portbev.parity.dumps.reading import RankRecords
from portbev.parity.dumps.record import Key, Record
from portbev.parity.dumps.sketch import Sketch, distance


class State(IntEnum):
    """How a record stands to its partner; what follows from several inputs has the state of the worst."""

    EQUAL = 0
    WITHIN = 1  # moved by no more than rounding moves it
    EDGE = 2  # a few elements crossed an edge, or it follows from that
    DIFFERS = 3  # beyond rounding, or it follows from that


KINDS = {
    "batch": "data",
    "draw": "random draw",
    "parameter": "weights",
    "buffer": "stale state",
    "buffer.after": "stale state",
    "parameter.grad": "communication",
    "parameter.clipped": "configuration",
    "update": "configuration",
    "parameter.after": "configuration",
    "average.after": "configuration",
}
"""What a cause with such a role points to; with any other it is ``operator``: a kernel or its precision."""
WIDE = 0.1
"""Share of a tensor's norm from which on a difference that is allowed says nothing."""
_EXACT = ("batch", "draw")
_SUMS = ("grad", "parameter.local", "parameter.grad", "parameter.clipped", "update")


@dataclass(frozen=True)
class Finding:
    """A record that differs though what it was computed from does not.

    Attributes:
        kind: what it points to: one of the values of :data:`KINDS`, ``operator``, or ``configuration`` where the
            arguments of a call differ.
        distance, band: Euclidean; None where they cannot be told (other shapes, no band).
        relative: distance over the norm.
        inputs: what it was computed from, with each one's state.
        arguments: of both dumps, where they differ.
    """

    rank: int
    a: Record
    b: Record
    kind: str
    distance: float | None
    band: float | None
    relative: float | None
    inputs: tuple[tuple[Key, State], ...]
    arguments: tuple[str, str] | None = None

    @property
    def ratio(self) -> float | None:
        """Distance over band."""
        return None if self.distance is None or not self.band else self.distance / self.band

    @property
    def providers(self) -> tuple[str, str]:
        return self.a.provider, self.b.provider


@dataclass
class Judgement:
    """Of one process's records.

    Attributes:
        findings: the cause first, then others that nothing explains.
        edges: records in which a few elements crossed an edge, and that nothing explains.
        states, ratios: by place in the first dump; the distance over the band.
        explained: how many records differ and follow from others.
        first_bit: the first record that is not equal bit by bit.
        worst: of each module that records lie in: the largest ratio of distance to band, and its record.
    """

    findings: list[Finding] = field(default_factory=list)
    edges: list[Finding] = field(default_factory=list)
    states: dict[int, State] = field(default_factory=dict)
    ratios: dict[int, float] = field(default_factory=dict)
    explained: int = 0
    first_bit: Record | None = None
    worst: dict[str, tuple[float, Record]] = field(default_factory=dict)


def judge(a: RankRecords, b: RankRecords, alignment: Alignment, *, bands: bool) -> Judgement:
    """Judge the pairs of an alignment.

    Args:
        bands: False for dumps without: nothing is a finding then but what must be equal.
    """
    return _Judge(a, b, alignment, bands).judged()


class _Judge:
    def __init__(self, a: RankRecords, b: RankRecords, alignment: Alignment, bands: bool) -> None:
        self.a, self.b, self.partner, self.bands = a, b, alignment.partner, bands
        self.result = Judgement()
        self._measured: dict[int, tuple[float | None, float | None]] = {}  # distance and band
        self._found: set[int] = set()
        self._otherwise: set[int] = set()  # calls with other arguments and the same results

    def judged(self) -> Judgement:
        result = self.result
        for record in self.a.records:
            before = max((result.states[n] for n in _followed(record)), default=State.EQUAL)
            result.ratios[record.n] = max((result.ratios[n] for n in _followed(record)), default=0.0)
            result.states[record.n] = before if record.n not in self.partner else self._pair(record, before)
        result.findings.sort(key=lambda finding: finding.a.n)
        return result

    def _other(self, record: Record) -> Record:
        return self.b.records[self.partner[record.n]]

    def _pair(self, record: Record, before: State) -> State:
        """The state of a record that both dumps have."""
        result, other = self.result, self._other(record)
        mine, yours = self.a.content(record), self.b.content(other)
        if record.same is not None and other.same is not None and self.partner.get(mine.n) == yours.n:
            result.ratios[record.n] = result.ratios[record.same]
            return result.states[record.same]
        state = self._judged(record, other, before)
        if record.same is not None and record.key.role == "output":  # each side made it in its own way
            result.states[record.same] = max(result.states[record.same], state)
            result.ratios[record.same] = max(result.ratios[record.same], result.ratios[record.n])
        return state

    def _judged(self, record: Record, other: Record, before: State) -> State:
        """The state of a pair with a content of its own."""
        result = self.result
        mine, yours = self.a.content(record), self.b.content(other)
        one, two = mine.sketch, yours.sketch
        arguments = _other_arguments(record, other)
        if one is None or two is None:
            return before if arguments is None or before >= State.EDGE else self._find(record)
        state, far, allowed = _state(
            replace(record, responses=mine.responses),
            replace(other, responses=yours.responses),
            one,
            two,
            before,
            self.bands,
        )
        self._measured[record.n] = (far, allowed)
        result.ratios[record.n] = ratio = 0.0 if not far else far / allowed if allowed else inf
        if state != State.EQUAL and result.first_bit is None:
            result.first_bit = record
        if allowed and ratio > result.worst.get(record.key.module, (0.0, record))[0]:
            result.worst[record.key.module] = (ratio, record)
        if before >= State.EDGE and record.key.role not in _EXACT:  # whatever it is, it follows from what came before
            result.explained += state == State.DIFFERS
            # a band as wide as the tensor, of reruns that crossed edges, is no proof that it agrees again
            return before if state == State.WITHIN and FACTOR * (allowed or 0.0) > WIDE * one.norm else state
        if state == State.DIFFERS or (arguments is not None and state != State.EQUAL):
            return self._find(record)
        if arguments is not None:  # to no effect so far; its gradient may tell
            self._otherwise.add(record.n)
        if state == State.EDGE:
            result.edges.append(self._finding(record))
        return state

    def _find(self, record: Record) -> State:
        """Note that ``record`` is not explained, or where it came from, if something before it was suspect already."""
        origin = record if _other_arguments(record, self._other(record)) is not None else self._origin(record)
        if origin is None:
            self.result.explained += 1
        elif origin.n not in self._found:
            self._found.add(origin.n)
            self.result.findings.append(self._finding(origin))
        return State.DIFFERS

    def _origin(self, record: Record) -> Record | None:
        """Going back, the first of the records with a suspect difference; None if that follows from another finding."""
        found = record
        if record.key.role in ("grad", "parameter.local"):
            called = [n for n in record.inputs if n in self._otherwise]
            if called:
                return self.a.records[min(called)]
        while True:
            suspects = [n for n in record.inputs if self.result.ratios[n] > SUSPECT]
            if any(n in self._found for n in suspects):
                return None
            if not suspects:
                return found
            record = self.a.records[min(suspects)]
            if record.n in self._measured:  # and not a view, nor what only one dump has
                found = record

    def _finding(self, record: Record) -> Finding:
        other, sketch = self._other(record), self.a.sketch(record)
        far, allowed = self._measured.get(record.n, (None, None))
        arguments = _other_arguments(record, other)
        return Finding(
            rank=self.a.rank,
            a=record,
            b=other,
            kind="configuration" if arguments is not None else KINDS.get(record.key.role, "operator"),
            distance=far,
            band=allowed,
            relative=None if far is None or sketch is None or not sketch.norm else far / sketch.norm,
            inputs=tuple((found.key, self.result.states[found.n]) for found in self.a.inputs(record)),
            arguments=arguments,
        )


def _state(  # noqa: PLR0911  (a reason each)
    record: Record, other: Record, one: Sketch, two: Sketch, before: State, bands: bool
) -> tuple[State, float | None, float | None]:
    """The state of a pair by itself, its distance and its band."""
    if one.hash == two.hash and one.shape == two.shape and one.dtype == two.dtype:
        return State.EQUAL, 0.0, None
    far = distance(one, two)
    allowed = common_band((record, one), (other, two))
    if record.key.role in _EXACT:
        return State.DIFFERS, far, None
    if not bands:
        return State.WITHIN, far, None
    if far is None:
        return State.DIFFERS, None, allowed
    if allowed is None:
        return State.WITHIN, far, None
    if far <= FACTOR * allowed:
        return State.WITHIN, far, allowed
    if not one.is_floating and before == State.EQUAL:
        return State.DIFFERS, far, allowed  # equal numbers give equal integers
    crosses = not one.is_floating or record.key.role in _SUMS
    edge = crosses and before > State.EQUAL and is_sparse(one, two, allowed)
    return State.EDGE if edge else State.DIFFERS, far, allowed


def _followed(record: Record) -> tuple[int, ...]:
    """What a record follows from: the module's inputs, and the result inside it that it is."""
    return record.inputs if record.same is None else (*record.inputs, record.same)


def _other_arguments(a: Record, b: Record) -> tuple[str, str] | None:
    if same_arguments(a.arguments, b.arguments) or a.arguments_move or b.arguments_move or a.key.operator == "":
        return None
    return a.arguments, b.arguments
