"""Two dumps beside each other, from their files alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from portbev.parity.dumps import likeness
from portbev.parity.dumps.alignment import Alignment, align
from portbev.parity.dumps.bands import FACTOR
from portbev.parity.dumps.findings import Finding, Judgement, State, judge
from portbev.parity.dumps.header import header_hash
from portbev.parity.dumps.likeness import Difference
from portbev.parity.dumps.reading import Dump, RankRecords
from portbev.parity.dumps.record import Record

SCHEMA = "portbev.dump-comparison/1"
Verdict = Literal["bit-identical", "within rounding", "different", "not bit-identical"]


@dataclass
class RankComparison:
    """Of one process."""

    rank: int
    alignment: Alignment
    judgement: Judgement
    records: tuple[int, int]

    @property
    def counts(self) -> dict[str, int]:
        """How many records of the first dump that the second has stand in each state."""
        states = Counter(self.judgement.states[n] for n in self.alignment.partner)
        return {state.name.lower(): states[state] for state in State}


@dataclass
class Comparison:
    """What two dumps say of each other.

    Attributes:
        allowed, environment, ledger: what differs and may.
        optimizer: hyperparameters that differ though the configurations agree: a finding by itself.
        bands: whether they tell rounding from more.
    """

    a: Dump
    b: Dump
    allowed: list[Difference]
    environment: list[Difference]
    ledger: list[Difference]
    optimizer: list[Difference]
    bands: bool
    ranks: list[RankComparison]

    @property
    def findings(self) -> list[Finding]:
        """All that nothing explains, in the order of the step: the cause first.

        A gradient that was exchanged follows from those of all processes.
        """
        found = [finding for rank in self.ranks for finding in rank.judgement.findings]
        differing = {
            record.key.module
            for rank, mine in zip(self.ranks, self.a.ranks, strict=True)
            for record in mine.records
            if record.key.role == "parameter.local" and rank.judgement.states[record.n] == State.DIFFERS
        }
        kept = [f for f in found if f.a.key.role != "parameter.grad" or f.a.key.module not in differing]
        return sorted(kept, key=lambda finding: finding.a.n)

    @property
    def cause(self) -> Finding | None:
        return self.findings[0] if self.findings else None

    @property
    def edges(self) -> list[Finding]:
        return [edge for rank in self.ranks for edge in rank.judgement.edges]

    @property
    def first_bit(self) -> Record | None:
        """The first record that is not equal bit by bit."""
        firsts = [rank.judgement.first_bit for rank in self.ranks if rank.judgement.first_bit is not None]
        return min(firsts, key=lambda record: record.n) if firsts else None

    @property
    def verdict(self) -> Verdict:
        if self.findings or self.optimizer:
            return "different"
        if self.first_bit is None:
            return "bit-identical"
        return "within rounding" if self.bands else "not bit-identical"

    def as_json(self) -> dict[str, Any]:
        """Schema ``portbev.dump-comparison/1``, with the hash of its content."""
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "a": _side(self.a),
            "b": _side(self.b),
            "verdict": self.verdict,
            "factor": FACTOR,
            "bands": self.bands,
            "findings": [_finding(finding) for finding in self.findings],
            "edges": [_finding(edge) for edge in self.edges],
            "first_bit": None if self.first_bit is None else list(self.first_bit.key),
            **{
                name: [asdict(difference) for difference in getattr(self, name)]
                for name in ("optimizer", "allowed", "environment", "ledger")
            },
            "ranks": [
                {
                    "rank": rank.rank,
                    "records": list(rank.records),
                    "counts": rank.counts,
                    "explained": rank.judgement.explained,
                    "only_a": [list(record.key) for record in rank.alignment.only_a],
                    "only_b": [list(record.key) for record in rank.alignment.only_b],
                    "worst": {
                        module: {"ratio": ratio, "record": list(record.key)}
                        for module, (ratio, record) in rank.judgement.worst.items()
                    },
                }
                for rank in self.ranks
            ],
        }
        content["hash"] = header_hash(content)
        return content


def compare(a: Dump, b: Dump) -> Comparison:
    """Compare ``b`` with ``a``. A dump that was made without bands is judged by those of the other.

    Raises:
        PortbevError: they are not of one step, see :func:`portbev.parity.dumps.likeness.check_alike`.
    """
    likeness.check_alike(a, b)
    bands = a.header.level == b.header.level == "sketch" and bool(a.header.reruns or b.header.reruns)
    ranks = []
    for first, second in zip(a.ranks, b.ranks, strict=True):
        mine = first if a.header.reruns else _with_responses(first, second)
        yours = second if b.header.reruns else _with_responses(second, first)
        alignment = align(mine, yours)
        judged = judge(mine, yours, alignment, bands=bands)
        ranks.append(RankComparison(mine.rank, alignment, judged, (len(mine.records), len(yours.records))))
    return Comparison(
        a,
        b,
        allowed=likeness.allowed_settings(a, b),
        environment=likeness.environment(a, b),
        ledger=likeness.ledger(a, b),
        optimizer=likeness.optimizer(a, b),
        bands=bands,
        ranks=ranks,
    )


def _with_responses(side: RankRecords, other: RankRecords) -> RankRecords:
    """The records with the responses that ``other`` measured for the same keys."""
    known = other.by_key
    records = [
        replace(record, responses=known[record.key].responses, arguments_move=known[record.key].arguments_move)
        if record.key in known
        else record
        for record in side.records
    ]
    return RankRecords(side.rank, records)


def _side(dump: Dump) -> dict[str, Any]:
    header = dump.header
    return {
        "name": dump.label,
        "backend": header.label,
        "emulated": header.run.backend.emulated,
        "device": [rank.device_name for rank in header.ranks],
        "configuration": header.run.name,
        "step": header.step.model_dump(),
        "level": header.level,
        "ended": header.ended,
        "hash": header.hash,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rank": finding.rank,
        "module": finding.a.key.module,
        "operator": finding.a.key.operator,
        "key": list(finding.a.key),
        "n": [finding.a.n, finding.b.n],
        "kind": finding.kind,
        "distance": finding.distance,
        "band": finding.band,
        "ratio": finding.ratio,
        "relative": finding.relative,
        "providers": list(finding.providers),
        "arguments": finding.arguments,
        "inputs": [{"key": list(key), "state": state.name.lower()} for key, state in finding.inputs],
    }
