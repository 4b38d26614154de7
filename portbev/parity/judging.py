"""From the figures of two sides to verdicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from portbev.parity.statistics import (
    Outcome,
    Plan,
    caution,
    holm,
    known_spread,
    least_power,
    paired,
    pooled,
    runs_needed,
    welch,
)
from portbev.parity.statistics.plan import Design
from portbev.parity.verdict_text import say
from portbev.parity.verdicts import Comparison, Judgement, Test, Verdict

NEAR = 0.8
"""Of the margin: a plan for more runs takes the difference seen for the true one, but none nearer to the margin."""

_NO_MARGIN = 1e300
SPENT = 1e-4
"""A chance of the verdict ``equivalent`` below this is none."""

_DESIGNS: dict[Test, Design] = {"paired": "paired", "welch": "welch", "pooled": "welch", "known spread": "known"}


@dataclass(frozen=True)
class Question:
    """Is this figure of a side the baseline side's?

    Attributes:
        values, baseline_values: seed -> figure; positive where ``scale`` is ``ratio``.
        margin: on the scale; None: none is declared, so that only a difference can be found.
        spread: declared standard deviation over seeds; taken where both sides have a single run.
        identical: all runs of the side have the same bits as their partners.
        refused: why it cannot be judged; empty if it can.
    """

    kind: Literal["accuracy", "class", "cost"]
    key: str
    name: str
    side: str
    baseline: str
    values: Mapping[int, float]
    baseline_values: Mapping[int, float]
    margin: float | None
    headline: bool = False
    scale: Literal["difference", "ratio"] = "difference"
    better: Literal["higher", "lower"] = "higher"
    spread: float | None = None
    identical: bool = False
    refused: str = ""

    def samples(self) -> tuple[list[float], list[float]]:
        """Both sides' figures by seed, as they are tested."""
        both = [[mapping[seed] for seed in sorted(mapping)] for mapping in (self.values, self.baseline_values)]
        a, b = ([math.log(x) for x in side] if self.scale == "ratio" else side for side in both)
        return a, b

    @property
    def tested_margin(self) -> float:
        """The margin as it is tested; infinite where none is declared."""
        if self.margin is None:
            return math.inf
        return math.log1p(self.margin) if self.scale == "ratio" else self.margin


@dataclass
class Finding:
    """A question with what its test said; p-values are adjusted later, together with the others'."""

    question: Question
    test: Test
    outcome: Outcome | None = None
    p_equivalent: float | None = None
    p_different: float | None = None
    together: int = 1
    constant: bool = False
    notes: list[str] = field(default_factory=list)


def answer(questions: Iterable[Question], judgement: Judgement) -> list[Comparison]:
    """Judge all figures of a group of runs; several of one kind are corrected for each other.

    Metrics: each has its own test of equality, because the overall verdict asks for all of them at once (Berger, 1982);
    differences are corrected by Holm. Classes: both are corrected, equality by Bonferroni, so that an interval inside
    the margin is the verdict.
    """
    questions = list(questions)
    classes: dict[str, int] = {}
    for question in questions:
        classes[question.side] = classes.get(question.side, 0) + (question.kind == "class" and _can_test(question))
    findings = [
        _test(question, judgement.level / max(1, classes[question.side] if question.kind == "class" else 1))
        for question in questions
    ]
    for kind in ("accuracy", "class", "cost"):
        _adjust([finding for finding in findings if finding.question.kind == kind and finding.outcome is not None])
    for finding in findings:
        if finding.question.kind == "class" and finding.p_equivalent is not None:
            finding.p_equivalent = min(1.0, finding.p_equivalent * max(1, classes[finding.question.side]))
    return [_conclude(finding, judgement) for finding in findings]


def _can_test(question: Question) -> bool:
    return not question.refused and not question.identical and bool(question.values and question.baseline_values)


def _test(question: Question, alpha: float) -> Finding:
    """Choose the test, by how the runs were made and not by what they found, and make it."""
    if not _can_test(question):
        return Finding(question, "identical" if question.identical and not question.refused else "none")
    a, b = question.samples()
    single, most = min(len(a), len(b)) == 1, max(len(a), len(b))
    if most > 1 and _constant(a, b):
        return Finding(question, "none", constant=True)
    if single and (question.spread is None if most == 1 else _constant(a if len(a) > 1 else b)):
        return Finding(question, "none")  # no spread is known
    margin = min(question.tested_margin, _NO_MARGIN)
    if single:
        return _of_single(question, a, b, margin, alpha)
    if question.kind != "cost" and sorted(question.values) == sorted(question.baseline_values):
        test: Test = "paired"
        spreads = not _constant(np.subtract(a, b))
    else:
        test, spreads = "welch", not (_constant(a) and _constant(b))
    if not spreads:
        return Finding(question, test, *_settled(_exact(a, b, margin), question), constant=True)
    outcome = (paired if test == "paired" else welch)(a, b, margin, alpha)
    return Finding(question, test, *_settled(outcome, question))


def _of_single(question: Question, a: list[float], b: list[float], margin: float, alpha: float) -> Finding:
    """One of the sides has a single run, or both have."""
    if len(a) == len(b):
        assert question.spread is not None
        outcome = known_spread(a, b, question.spread, margin, alpha)
        return Finding(question, "known spread", *_settled(outcome, question))
    return Finding(question, "pooled", *_settled(pooled(a, b, margin, alpha), question, single=True))


def _settled(outcome: Outcome, question: Question, *, single: bool = False) -> tuple[Outcome, float | None, float]:
    """The outcome with its p-values; that of equality where one can be shown."""
    shown = question.margin is not None and not single
    return outcome, float(outcome.p_equivalent) if shown else None, float(outcome.p_different)


def _constant(*samples: ArrayLike) -> bool:
    values = np.concatenate([np.atleast_1d(np.asarray(sample, float)) for sample in samples])
    return len(values) > 1 and float(np.ptp(values)) <= 1e-12 * max(float(np.abs(values).max()), 1e-300)


def _exact(a: Sequence[float], b: Sequence[float], margin: float) -> Outcome:
    """Differences that do not spread at all."""
    estimate = np.asarray(np.mean(a) - np.mean(b))
    zero = np.asarray(0.0)
    outside = np.asarray(float(abs(estimate) >= margin))
    none = np.asarray(float(estimate == 0))
    return Outcome(estimate, estimate, estimate, outside, none, zero, np.asarray(len(a) - 1.0))


def _adjust(findings: Sequence[Finding]) -> None:
    """Correct the p-values for no difference for each other."""
    raw = [float(finding.outcome.p_different) for finding in findings if finding.outcome is not None]
    for finding, value in zip(findings, holm(raw), strict=True):
        finding.p_different, finding.together = value, len(findings)


def _conclude(finding: Finding, judgement: Judgement) -> Comparison:
    question, outcome = finding.question, finding.outcome
    a, b = question.samples() if question.values and question.baseline_values else ([], [])
    verdict = _verdict(finding, judgement)
    comparison = Comparison(
        kind=question.kind,
        key=question.key,
        name=question.name,
        headline=question.headline,
        scale=question.scale,
        better=question.better,
        side=question.side,
        baseline=question.baseline,
        margin=question.margin,
        test=finding.test,
        seeds=len(question.values),
        baseline_seeds=len(question.baseline_values),
        mean=_mean(question.values),
        baseline_mean=_mean(question.baseline_values),
        std=_std(question.values),
        baseline_std=_std(question.baseline_values),
        points=[_back(x - y, question) for x, y in zip(a, b, strict=True)] if finding.test == "paired" else [],
        p_equivalent=finding.p_equivalent,
        p_different=finding.p_different,
        compared_together=finding.together,
        verdict=verdict,
        says="",
    )
    if finding.test == "identical":
        comparison.estimate = comparison.low = comparison.high = 0.0
    elif a and b and outcome is None and not question.refused:
        comparison.estimate = _back(float(np.mean(a) - np.mean(b)), question)
    if outcome is not None:
        comparison.estimate = _back(float(outcome.estimate), question)
        comparison.low, comparison.high = (_back(float(edge), question) for edge in (outcome.low, outcome.high))
        comparison.confidence = 1 - 2 * _level(finding, judgement)
        _plan(finding, comparison, judgement)
    comparison.says = say(comparison, judgement, refused=question.refused, constant=finding.constant)
    return comparison


def _verdict(finding: Finding, judgement: Judgement) -> Verdict:
    question = finding.question
    if question.refused:
        return "not judged"
    if finding.test == "identical":
        return "equivalent"
    if finding.outcome is None:
        same_cost = finding.constant and question.kind == "cost" and len(question.values) > 1
        return "equivalent" if same_cost else "undecided"
    if finding.p_equivalent is not None and finding.p_equivalent < judgement.level:
        return "equivalent"
    assert finding.p_different is not None
    return "different" if finding.p_different < judgement.level else "undecided"


def _level(finding: Finding, judgement: Judgement) -> float:
    """The level of the finding's interval: of a class, its share."""
    return judgement.level / (finding.together if finding.question.kind == "class" else 1)


def _plan(finding: Finding, comparison: Comparison, judgement: Judgement) -> None:
    """Power of what was done, and how many runs are missing."""
    question, outcome = finding.question, finding.outcome
    if question.margin is None or outcome is None or float(outcome.error) == 0:
        return
    level, error = _level(finding, judgement), float(outcome.error)
    margin, runs = question.tested_margin, (len(question.values), len(question.baseline_values))
    have, design = min(runs), _DESIGNS[finding.test]
    share = 1 / have if design == "paired" else 1 / runs[0] + 1 / runs[1]
    spread = error / math.sqrt(share)
    if finding.test != "pooled":
        comparison.power = least_power(spread, design, runs, margin, level)
    # A look that could have said "equivalent" has spent its share of alpha. Where no further one was declared, the next
    # look is planned as the second of two.
    spent = comparison.power is not None and comparison.power > SPENT
    next_level = level / 2 if spent and judgement.looks == 1 else level
    plan = Plan(margin, next_level, judgement.power)
    spread *= caution(design, runs, plan.alpha, plan.power)
    if design == "known":
        design = "welch"  # further runs will show their spread
    needed = runs_needed(spread, design, plan)
    if needed is not None and needed <= have and comparison.verdict == "undecided":
        needed = runs_needed(spread, design, plan, min(abs(float(outcome.estimate)), NEAR * margin))
    comparison.runs_needed = needed
    if comparison.verdict == "undecided" and needed is not None:
        comparison.more_runs = max(1, needed - have)


def _back(value: float, question: Question) -> float:
    return math.expm1(value) if question.scale == "ratio" else value


def _mean(values: Mapping[int, float]) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


def _std(values: Mapping[int, float]) -> float | None:
    return float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None
