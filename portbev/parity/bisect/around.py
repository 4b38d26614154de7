"""The kinds of what stands around the model: data, state before and after the step, exchange, update."""

from __future__ import annotations

from portbev.parity.bisect.differences import proportion
from portbev.parity.bisect.numeric import other_arguments
from portbev.parity.bisect.region import Aligned
from portbev.parity.bisect.settings import average_settings, module_settings, optimizer_settings
from portbev.parity.bisect.suspect import Suspect
from portbev.parity.dumps.reading import Dump, RankRecords
from portbev.parity.dumps.record import Key


def data(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
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


def before(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    verdict.kind, verdict.module = "stale state", pair.a.key.module
    names = [p.a.key.module for p in ranks[pair.rank].differing(pair.a.key.role)]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    verdict.evidence.append(f"{pair.a.key.module}{more} differ before the step begins, so that no kernel is to blame")


def after(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    """A buffer after the step, of a module whose results agree."""
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    verdict.kind, verdict.module = "stale state", pair.a.key.module.rpartition(".")[0]
    name = pair.a.key.module
    moves = {side: _move(records, name) for side, records in (("a", aligned.a), ("b", aligned.b))}
    set_otherwise = module_settings(a, b, verdict.module)
    if set_otherwise:
        verdict.kind = "configuration"
        verdict.evidence.insert(0, set_otherwise)
        return
    for side, other in (("a", "b"), ("b", "a")):
        if not any(moves[side]) and any(moves[other]):
            verdict.side = side
            verdict.evidence.append(
                f"in {side} {name} is after the step what it was before, bit for bit; {other} has brought it up to date"
            )
            return
    for n in pair.b.inputs:
        told = other_arguments(aligned, aligned.b.records[n])
        if told:
            verdict.kind = "configuration"
            verdict.evidence.insert(0, told)
            return
    scaled = proportion(moves["a"], moves["b"])
    if scaled is not None and scaled.rest < 0.01 * abs(scaled.factor - 1):
        verdict.kind = "configuration"
        line = f"b moves {name} {scaled.factor:.4g} times as far in the step as a: another momentum"
        verdict.evidence.insert(0, line)
        return
    verdict.kind = "kernel"
    verdict.evidence.append(f"both bring it up to date, and the results of {verdict.module} agree: only what it keeps")


def _move(records: RankRecords, name: str) -> list[float]:
    """How the step moves a buffer: the projections of the difference; zeros where it stays bit for bit."""
    keys = (Key(name, "", role, 0, 0) for role in ("buffer.after", "buffer"))
    found = [records.by_key.get(key) for key in keys]
    now, then = (None if record is None else records.sketch(record) for record in found)
    if now is None or then is None or now.hash == then.hash:
        return []
    return [p - q for p, q in zip(now.projections, then.projections, strict=True)]


def exchange(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
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


def update(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    verdict.kind, verdict.module = "configuration", "(optimizer)"
    if pair.a.key.role == "parameter.clipped":
        _clipping(suspect)
        return
    names = [p.a.key.module for p in ranks[pair.rank].differing(pair.a.key.role)]
    total = sum(p.a.key.role == pair.a.key.role for p in ranks[pair.rank].pairs.values())
    verdict.evidence.append(
        f"all gradients agree; the update of {len(names)} of {total} parameters does not: {', '.join(names[:3])}"
        + (" ..." if len(names) > 3 else "")
    )
    told = list(optimizer_settings(a, b, pair.a.key.module))
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


def _clipping(suspect: Suspect) -> None:
    """The gradients agree, and what the optimizer gets of them does not."""
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    verdict.module = "(clipping)"
    factors = {}
    for side, records in (("a", aligned.a), ("b", aligned.b)):
        keys = (Key(pair.a.key.module, "", role, 0, 0) for role in ("parameter.grad", "parameter.clipped"))
        whole, clipped = (None if r is None else records.sketch(r) for r in map(records.by_key.get, keys))
        found = None if whole is None or clipped is None else proportion(whole.projections, clipped.projections)
        factors[side] = "no multiple" if found is None or found.rest > 1e-3 else f"{found.factor:.4g} times"
    verdict.evidence.insert(
        0,
        f"all gradients agree before they are clipped; what the optimizer gets is {factors['a']} the gradient in a and "
        f"{factors['b']} in b",
    )


def average(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    """The weights after the update agree, and their moving average does not."""
    verdict = suspect.verdict
    verdict.kind, verdict.module = "configuration", "(average)"
    verdict.evidence.append("the weights agree after the update; their moving average does not")
    verdict.evidence.insert(0, average_settings(a, b) or "its settings are the same: it is computed in another way")
