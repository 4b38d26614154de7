"""Loss curves of a run beside its baseline's: equal bit for bit, or from which step on not."""

from __future__ import annotations

import math
import struct

from portbev.parity.document import CurveComparison, TermComparison
from portbev.parity.runs import LabelledRun

TOTAL = "total"


def compare_curves(run: LabelledRun, baseline: LabelledRun) -> CurveComparison:
    """Compare the losses of every step that both runs have, exactly: the files hold floats exactly."""
    mine = {row.step: row for row in run.scalars}
    theirs = {row.step: row for row in baseline.scalars}
    steps = sorted(mine.keys() & theirs.keys())
    remarks = _remarks(run, baseline, steps)
    names = _terms(run, baseline)
    terms = []
    for term in names:
        pairs = [
            (step, theirs[step].losses[term], mine[step].losses[term])
            for step in steps
            if term in mine[step].losses and term in theirs[step].losses
        ]
        if pairs:
            terms.append(_compare(term, pairs))
    firsts = [term.first_step for term in terms if term.first_step is not None]
    first = min(firsts, default=None)
    identical = bool(terms) and first is None and not _one_sided(run, baseline)
    return CurveComparison(
        run=run.label,
        baseline=baseline.label,
        verdict=_verdict(terms, len(steps), first, identical),
        identical=identical,
        steps=len(steps),
        first_step=first,
        remarks=remarks,
        terms=terms,
    )


def _compare(term: str, pairs: list[tuple[int, float, float]]) -> TermComparison:
    differing = [(step, a, b) for step, a, b in pairs if not _same_bits(a, b)]
    if not differing:
        return TermComparison(term=term, steps=len(pairs), identical=True)
    step, a, b = differing[0]
    sizes = [(abs(b - a), step) for step, a, b in differing if math.isfinite(b - a)]
    largest = max(sizes, key=lambda pair: (pair[0], -pair[1]), default=(None, None))
    size = abs(b - a)
    return TermComparison(
        term=term,
        steps=len(pairs),
        identical=False,
        first_step=step,
        first_baseline=_finite(a),
        first_value=_finite(b),
        first_difference=_finite(size),
        first_relative=_finite(size / abs(a)) if a else None,
        largest_difference=largest[0],
        largest_step=largest[1],
    )


def _verdict(terms: list[TermComparison], steps: int, first: int | None, identical: bool) -> str:
    if not terms:
        return "no common steps: the losses cannot be compared"
    if identical:
        return f"bit-identical over {steps} steps"
    if first is None:
        return f"the common terms are bit-identical over {steps} steps, but not both runs have the same terms"
    at = [term for term in terms if term.first_step == first]
    lead = next((term for term in at if term.term == TOTAL), at[0])
    if lead.first_difference is None:
        return f"first difference at step {first} in {lead.term}: one of the two is not finite"
    relative = "" if lead.first_relative is None else f" ({lead.first_relative:.2e} relative)"
    return f"first difference at step {first}, size {lead.first_difference:.2e}{relative} in {lead.term}"


def _remarks(run: LabelledRun, baseline: LabelledRun, steps: list[int]) -> list[str]:
    remarks = []
    if len(steps) < max(len(run.scalars), len(baseline.scalars)):
        remarks.append(f"{len(steps)} steps in common: {run.label} has {len(run.scalars)}, "
                     f"{baseline.label} has {len(baseline.scalars)}")  # fmt: skip
    mine = {row.step: row.samples for row in run.scalars}
    theirs = {row.step: row.samples for row in baseline.scalars}
    if any(mine[step] != theirs[step] for step in steps):
        remarks.append("the same step has seen another number of samples: another batch size or number of devices")
    for name, only in _one_sided(run, baseline).items():
        remarks.append(f"only {name} has the terms {', '.join(only)}")
    return remarks


def _one_sided(run: LabelledRun, baseline: LabelledRun) -> dict[str, list[str]]:
    mine = {term for row in run.scalars for term in row.losses}
    theirs = {term for row in baseline.scalars for term in row.losses}
    sides = {run.label: sorted(mine - theirs), baseline.label: sorted(theirs - mine)}
    return {name: terms for name, terms in sides.items() if terms}


def _terms(run: LabelledRun, baseline: LabelledRun) -> list[str]:
    """Terms of either run in the order in which they appear; the total first."""
    seen = {term: None for one in (baseline, run) for row in one.scalars for term in row.losses}
    return sorted(seen, key=lambda term: term != TOTAL)


def _same_bits(a: float, b: float) -> bool:
    if math.isnan(a) and math.isnan(b):
        return True
    return struct.pack("<d", a) == struct.pack("<d", b)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
