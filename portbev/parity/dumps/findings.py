"""Which differences of two dumps are beyond rounding, which of them follow from others, and which is the cause.

Records are judged in the order of the first dump. A record *differs* where its distance is beyond its band. It is
*explained* where something that it was computed from differs or is explained. The first one that differs and is not
explained is the cause: all that it was computed from agrees within rounding, and it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from portbev.parity.dumps.alignment import Alignment
from portbev.parity.dumps.bands import FACTOR, common_band, is_sparse
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
    "update": "configuration",
    "parameter.after": "configuration",
}
"""What a cause with such a role points to; with any other it is ``operator``: a kernel or its precision."""
_EXACT = ("batch", "draw")


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
        explained: how many records differ and follow from others.
        first_bit: the first record that is not equal bit by bit.
        worst: of each module that records lie in: the largest ratio of distance to band, and its record.
    """

    findings: list[Finding]
    edges: list[Finding]
    states: dict[int, State]
    explained: int
    first_bit: Record | None
    worst: dict[str, tuple[float, Record]]


def judge(a: RankRecords, b: RankRecords, alignment: Alignment, *, bands: bool) -> Judgement:
    """Judge the pairs of an alignment.

    Args:
        bands: False for dumps without: nothing is a finding then but what must be equal.
    """
    judged = Judgement([], [], {}, 0, None, {})
    for record in a.records:
        inputs = [judged.states.get(n, State.EQUAL) for n in record.inputs]
        before = max(inputs, default=State.EQUAL)
        if record.n not in alignment.partner:
            judged.states[record.n] = before
            continue
        other = b.records[alignment.partner[record.n]]
        judged.states[record.n] = _judge_pair(judged, (a, record), (b, other), before, bands)
    return judged


def _judge_pair(
    judged: Judgement, mine: tuple[RankRecords, Record], yours: tuple[RankRecords, Record], before: State, bands: bool
) -> State:
    (a, record), (b, other) = mine, yours
    one, two = record.sketch, other.sketch
    arguments = _other_arguments(record, other)
    if record.same is not None and other.same is not None:
        return judged.states.get(record.same, before)
    if one is None or two is None:
        one, two = a.sketch(record), b.sketch(other)
    if one is None or two is None:
        if arguments is not None and before < State.DIFFERS:
            judged.findings.append(_finding(judged, a, mine, yours, None, None))
            return State.DIFFERS
        return before
    state, far, allowed = _state(record, other, one, two, before, bands)
    if state != State.EQUAL and judged.first_bit is None:
        judged.first_bit = record
    if far is not None and allowed:
        _note_worst(judged.worst, record, far / allowed)
    if before >= State.EDGE:  # whatever it is, it follows from what came before
        judged.explained += state == State.DIFFERS
        if record.key.role not in _EXACT or state == State.EQUAL:
            return max(before, state) if state != State.EQUAL else State.EQUAL
    if state == State.DIFFERS or (arguments is not None and state != State.EQUAL):
        judged.findings.append(_finding(judged, a, mine, yours, far, allowed))
        return State.DIFFERS
    if state == State.EDGE:
        judged.edges.append(_finding(judged, a, mine, yours, far, allowed))
    return state


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
    crosses = not one.is_floating or record.key.role in ("grad", "parameter.local", "parameter.grad", "update")
    return State.EDGE if crosses and before > State.EQUAL and is_sparse(one, two) else State.DIFFERS, far, allowed


def _finding(
    judged: Judgement,
    a: RankRecords,
    mine: tuple[RankRecords, Record],
    yours: tuple[RankRecords, Record],
    far: float | None,
    allowed: float | None,
) -> Finding:
    record, other = mine[1], yours[1]
    sketch = a.sketch(record)
    arguments = _other_arguments(record, other)
    return Finding(
        rank=a.rank,
        a=record,
        b=other,
        kind="configuration" if arguments is not None else KINDS.get(record.key.role, "operator"),
        distance=far,
        band=allowed,
        relative=None if far is None or sketch is None or not sketch.norm else far / sketch.norm,
        inputs=tuple((found.key, judged.states.get(found.n, State.EQUAL)) for found in a.inputs(record)),
        arguments=arguments,
    )


def _other_arguments(a: Record, b: Record) -> tuple[str, str] | None:
    if a.arguments == b.arguments or a.arguments_move or b.arguments_move or a.key.operator == "":
        return None
    return a.arguments, b.arguments


def _note_worst(worst: dict[str, tuple[float, Record]], record: Record, ratio: float) -> None:
    module = record.key.module
    if module not in worst or worst[module][0] < ratio:
        worst[module] = (ratio, record)
