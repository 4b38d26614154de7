"""What two dumps say of the cause, without any device: its place, and as much of its kind as sketches tell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from portbev.parity.bisect.differences import Difference, proportion, reading
from portbev.parity.bisect.region import Aligned, Pair, aligned
from portbev.parity.bisect.verdict import Kind, Verdict
from portbev.parity.dumps.likeness import WAYS, hyperparameters
from portbev.parity.dumps.reading import Dump
from portbev.parity.dumps.record import Key, Record

STAGES = {
    "batch": "data",
    "parameter": "state",
    "buffer": "state",
    "grad": "backward",
    "parameter.local": "backward",
    "parameter.grad": "exchange",
    "update": "update",
    "parameter.after": "update",
    "buffer.after": "state",
    "detections": "decoding",
}
"""Part of the step that a role belongs to; the others are the forward pass."""


@dataclass
class Suspect:
    """What is to be computed again where a device is at hand.

    Attributes:
        pair: the record that differs.
        calls: b's results of the operators that may have made it; of a gradient, of the users of its tensor.
    """

    verdict: Verdict
    pair: Pair | None = None
    aligned: Aligned | None = None
    a: Dump | None = None
    calls: list[Record] = field(default_factory=list)

    @property
    def is_numeric(self) -> bool:
        """Whether only computing it again tells the kind."""
        return self.pair is not None and self.verdict.kind in ("kernel", "reduced precision", "random draw")


def from_files(a: Dump, b: Dump) -> Suspect:
    """The cause, as far as files tell."""
    ranks = aligned(a, b)
    causes = [(one.causes[0], one) for one in ranks if one.causes]
    if not causes:
        return Suspect(_settings_alone(a, b))
    pair, where = min(causes, key=lambda cause: (cause[0].a.n, cause[0].rank))
    suspect = Suspect(
        Verdict("kernel", STAGES.get(pair.a.key.role, "forward"), rank=pair.rank, record=str(pair.a.key)),
        pair,
        where,
        a,
    )
    suspect.verdict.evidence.append(_first_line(where, pair))
    _KINDS.get(pair.a.key.role, _numeric)(suspect, a, b, ranks)
    return suspect


def _first_line(aligned: Aligned, pair: Pair) -> str:
    """Where they part, and by how much."""
    sketch = aligned.a.sketch(pair.a)
    if pair.a.key.role in ("draw", "batch") or not math.isfinite(pair.distance) or sketch is None:
        how = "differs"
        if math.isfinite(pair.distance) and sketch is not None and sketch.norm:
            how = f"differs by {pair.distance / sketch.norm:.1e} of its norm"
        return f"{pair.a.key} {how}; it is the first that does"
    size = f"{pair.distance / sketch.norm:.1e} of its norm" if sketch.norm else f"{pair.distance:.1e}"
    times = f", {pair.distance / pair.band:.0f} times what rounding does to it" if pair.band else ""
    return f"{pair.a.key} differs by {size}{times}; all that it was computed from agrees"


# ---- kinds


def _data(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    verdict.kind, verdict.module, verdict.operator = "data", f"{pair.a.key.module} {pair.a.key.operator}".strip(), ""
    rank = pair.rank
    first, second = a.header.ranks[rank].tokens, b.header.ranks[rank].tokens
    if first != second:
        other = next((r.rank for r in b.header.ranks if r.rank != rank and r.tokens == second), None)
        theirs = "" if other is None else f", which are those of process {other}: its batch is repeated"
        verdict.evidence.append(f"process {rank} has samples {_tokens(first)} in a and {_tokens(second)} in b{theirs}")
        return
    same, drawn = ranks[rank].equal("batch"), ranks[rank].equal("draw")
    verdict.evidence.append(
        f"the samples ({_tokens(first)}), the data set's digest, {drawn} draws and {same} other parts of the batch are "
        "the same: what differs is how this one was made of them"
    )


def _tokens(batches: list[list[str]]) -> str:
    names = [token[:8] for batch in batches for token in batch]
    return ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")


def _before(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    verdict.kind, verdict.module = "stale state", pair.a.key.module
    names = [p.a.key.module for p in ranks[pair.rank].differing(pair.a.key.role)]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    verdict.evidence.append(f"{pair.a.key.module}{more} differ before the step begins, so that no kernel is to blame")


def _after(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    """A buffer after the step, of a module whose results agree."""
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    verdict.kind, verdict.module = "stale state", pair.a.key.module.rpartition(".")[0]
    name = pair.a.key.module
    moved = {}
    for side, records in (("a", aligned.a), ("b", aligned.b)):
        now, then = (records.by_key.get(Key(name, "", role, 0, 0)) for role in ("buffer.after", "buffer"))
        found, was = (None if r is None else records.sketch(r) for r in (now, then))
        moved[side] = found is not None and was is not None and found.hash != was.hash
    for side, other in (("a", "b"), ("b", "a")):
        if not moved[side] and moved[other]:
            verdict.side = side
            verdict.evidence.append(
                f"in {side} {name} is after the step what it was before, bit for bit; {other} has brought it up to date"
            )
            return
    verdict.evidence.append(f"the results of {verdict.module} agree: only what it keeps for later steps differs")


def _exchange(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    name = pair.a.key.module
    verdict.module = "(gradients)"
    factors = {side: _over_mean(dump, name) for side, dump in (("a", a), ("b", b))}
    wrong = [side for side, factor in factors.items() if factor is not None and abs(factor - 1) > 0.01]
    if len(wrong) == 1:
        verdict.side = wrong[0]
    told = ", ".join(f"{factor:.4g} in {side}" for side, factor in factors.items() if factor is not None)
    verdict.kind = "communication" if len(ranks) > 1 else "kernel"
    what = "each process's own gradients agree" if len(ranks) > 1 else "the gradients of the backward pass agree"
    verdict.evidence.append(
        f"{what}; what the optimizer gets of {name}, over the mean of the processes' own, is {told or 'no multiple'}"
    )


def _over_mean(dump: Dump, name: str) -> float | None:
    """The exchanged gradient of a parameter as a multiple of the mean over processes; None if it is none."""
    own = []
    for rank in dump.ranks:
        passes = [r for r in rank.records if r.key.role == "parameter.local" and r.key.module == name]
        sketches = [rank.sketch(r) for r in passes]
        own.append([sum(values) for values in zip(*(s.projections for s in sketches if s is not None), strict=True)])
    record = dump.ranks[0].by_key.get(Key(name, "", "parameter.grad", 0, 0))
    sketch = None if record is None else dump.ranks[0].sketch(record)
    if sketch is None or not all(own):
        return None
    mean = [sum(values) / len(own) for values in zip(*own, strict=True)]
    found = proportion(mean, sketch.projections)
    return None if found is None or found.rest > 0.01 else found.factor


def _update(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    verdict.kind, verdict.module = "configuration", "(optimizer)"
    names = [p.a.key.module for p in ranks[pair.rank].differing(pair.a.key.role)]
    total = sum(p.a.key.role == pair.a.key.role for p in ranks[pair.rank].pairs.values())
    verdict.evidence.append(
        f"all gradients agree; the update of {len(names)} of {total} parameters does not: {', '.join(names[:3])}"
        + (" ..." if len(names) > 3 else "")
    )
    told = list(_hyperparameters(a, b, pair.a.key.module))
    if told:
        verdict.evidence.insert(0, told[0])
        return
    largest = max(
        ranks[pair.rank].differing("update"),
        key=lambda p: p.distance / (p.band or 1e-300),
        default=pair,
    )
    one, two = aligned.a.sketch(largest.a), aligned.b.sketch(largest.b)
    start = aligned.a.by_key.get(Key(largest.a.key.module, "", "parameter", 0, 0))
    weights = None if start is None else aligned.a.sketch(start)
    if one is None or two is None:
        return
    scaled = proportion(one.projections, two.projections)
    if scaled is not None and scaled.rest < 0.05 * abs(scaled.factor - 1):
        verdict.evidence.insert(0, f"the update in b is {scaled.factor:.4g} times that in a: another learning rate")
        return
    if weights is not None:
        apart = [q - p for p, q in zip(one.projections, two.projections, strict=True)]
        decayed = proportion(weights.projections, apart)
        if decayed is not None and decayed.rest < 0.05 * abs(decayed.factor):
            verdict.evidence.insert(
                0,
                f"the updates of {largest.a.key.module} differ by {decayed.factor:.3g} times the parameter itself: "
                "another weight decay",
            )


def _hyperparameters(a: Dump, b: Dump, name: str = "") -> Iterator[str]:
    """Settings of the optimizer that differ, with whose."""
    first, second = hyperparameters(a), hyperparameters(b)
    differing: dict[tuple[str, str, str], list[str]] = {}
    for parameter in first.keys() & second.keys():
        one, other = first[parameter], second[parameter]
        for key in sorted({*one, *other} - WAYS):
            if one.get(key) != other.get(key):
                differing.setdefault((key, str(one.get(key)), str(other.get(key))), []).append(parameter)
    for (key, mine, yours), names in sorted(differing.items(), key=lambda item: (name not in item[1], item[0])):
        shown = name if name in names else min(names)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{key} of {shown}{more}: {mine} in a, {yours} in b"


def _settings_alone(a: Dump, b: Dump) -> Verdict:
    """Nothing differs by numbers; the optimizer may still be set up otherwise."""
    told = list(_hyperparameters(a, b))
    if not told:
        return Verdict("none", evidence=["no record differs by more than rounding"])
    note = "no record of this step shows it: it is too small for one step"
    return Verdict("configuration", "update", "(optimizer)", evidence=[told[0], note])


def _draw(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    key = pair.b.key
    verdict.kind, verdict.module, verdict.operator, verdict.provider = (
        "random draw", key.module, key.operator, pair.b.provider
    )  # fmt: skip
    if key.module == "(data)":
        verdict.stage = "data"
        verdict.operator = ""
        verdict.evidence.append(f"what the data's generator gave for {key.operator} differs, with the same key")
        return
    suspect.calls = [pair.b]
    if pair.a.arguments == pair.b.arguments:
        verdict.evidence.append(f"with the same key {_clip(pair.a.arguments)}: who counts or draws is at fault")
    else:
        verdict.evidence.append(f"with {_clip(pair.a.arguments)} in a and {_clip(pair.b.arguments)} in b: another key")


def _numeric(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    if verdict.stage == "backward":
        suspect.calls = list(_users(aligned, pair.b))
        maker = suspect.calls[0] if suspect.calls else pair.b
    else:
        maker = pair.b
        while not maker.key.operator and maker.same is not None:
            maker = aligned.b.records[maker.same]
        suspect.calls = [maker] if maker.key.operator else []
    verdict.module, verdict.operator = maker.key.module, maker.key.operator
    verdict.provider = _provider(maker, b)
    for call in suspect.calls or [pair.b]:
        told = _other_arguments(aligned, call)
        if told:
            verdict.kind, verdict.module, verdict.operator = "configuration", call.key.module, call.key.operator
            verdict.evidence.append(told)
            return
    one, two = aligned.a.sketch(pair.a), aligned.b.sketch(pair.b)
    found = Difference.of(one, two) if one is not None and two is not None else None
    if found is not None:
        verdict.kind, line = reading(found)
        verdict.evidence.append(line)
    inserted = aligned.only("b", verdict.module), aligned.only("a", verdict.module)
    told = _inserted(*inserted)
    if told:
        verdict.evidence.append(told)


def _provider(call: Record, b: Dump) -> str:
    """Who served it: an operator that calls another of ours has both, the outer one last."""
    return call.provider.split(",")[0]


def _users(aligned: Aligned, gradient: Record) -> Iterator[Record]:
    """Results of the operators of b whose backward gives ``gradient``, through views and copies."""
    key, records = gradient.key, aligned.b.records
    role = "parameter" if key.role == "parameter.local" else "output"
    starts = [
        r.n
        for r in records
        if r.key[:2] == key[:2] and r.key.role in (role, "written", "view") and r.key.slot == key.slot
    ]
    waiting, seen = starts, set(starts)
    users: dict[int, Record] = {}
    while waiting:
        n = waiting.pop()
        for record in records[n + 1 :]:
            if n not in record.inputs or record.n in seen or record.key.role in ("grad", "parameter.local"):
                continue
            seen.add(record.n)
            if record.key.role in ("view", "copy"):
                waiting.append(record.n)
            elif record.key.role in ("output", "written", "draw") and record.key.operator:
                users.setdefault(record.n, record)
    return iter([users[n] for n in sorted(users)])


def _other_arguments(aligned: Aligned, call: Record) -> str | None:
    at = aligned.pair_of_b(call.n)
    if at is None or at.a.arguments == at.b.arguments or not at.a.key.operator:
        return None
    if at.a.arguments_move or at.b.arguments_move:
        return None
    one, other = _parting(at.a.arguments, at.b.arguments)
    return f"{call.key.operator} is called with {one} in a and with {other} in b"


def _parting(one: str, other: str) -> tuple[str, str]:
    """Two texts from a little before where they part."""
    first = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))
    begin = max(0, max(one.rfind(" ", 0, first), one.rfind("(", 0, first)) + 1)
    return _clip(one[begin:]), _clip(other[begin:])


def _clip(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _inserted(only_b: list[Record], only_a: list[Record]) -> str:
    told = []
    for side, records in (("b", only_b), ("a", only_a)):
        names = list(dict.fromkeys(r.key.operator for r in records))
        if names:
            told.append(f"{side} alone calls {', '.join(names[:6])} there")
    return "; ".join(told)


_KINDS = {
    "batch": _data,
    "constant": _data,
    "draw": _draw,
    "parameter": _before,
    "buffer": _before,
    "buffer.after": _after,
    "parameter.grad": _exchange,
    "update": _update,
    "parameter.after": _update,
}
__all__ = ["Kind", "Suspect", "from_files"]
