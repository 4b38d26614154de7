"""``--require``: what a report has to show, for CI."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from portbev.errors import PortbevError, nearest
from portbev.evaluate.benchmark import Benchmark, Metric, find_benchmark
from portbev.parity import table
from portbev.parity.document import Group, ParityReport
from portbev.parity.equality import CLASS
from portbev.parity.verdicts import Comparison, Gate, Judgement

WORDS = ("equivalent", "within-rounding")


@dataclass(frozen=True)
class Requirement:
    """A word of :data:`WORDS`, or a metric by key or name with the margin within which it is to be equivalent."""

    what: str
    margin: float | None = None

    def __str__(self) -> str:
        return self.what if self.margin is None else f"{self.what}={self.margin:g}"


def parse_requirements(texts: Sequence[str]) -> list[Requirement]:
    """Raises PortbevError: neither a word of :data:`WORDS` nor ``METRIC=MARGIN``."""
    found = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            if text not in WORDS:
                cure = f"{nearest(text, WORDS)}, or METRIC=MARGIN, for example mAP=0.005"
                raise PortbevError(f"cannot read {text!r}", where="--require", cure=cure)
            found.append(Requirement(text))
        else:
            found.append(Requirement(name, parse_number(value, text, "--require")))
    return found


def parse_number(value: str, text: str, where: str) -> float:
    """A positive number; ``5%`` is 0.05.

    Raises:
        PortbevError: anything else.
    """
    try:
        number = float(value[:-1]) / 100 if value.endswith("%") else float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise PortbevError(f"cannot read {text!r}", where=where, cure="Write NAME=NUMBER with a number above 0")
    return number


def check_keys(judgement: Judgement, requirements: Sequence[Requirement], benchmarks: Sequence[str]) -> None:
    """Raises PortbevError: a margin, spread or requirement of a metric that none of the benchmarks has."""
    known = [metric for name in dict.fromkeys(benchmarks) for metric in _columns(find_benchmark(name))]
    names = {one for metric in known for one in (metric.key, metric.name)} | {CLASS}
    asked = [("--margin", key) for key in judgement.margins] + [("--spread", key) for key in judgement.spreads]
    asked += [("--require", one.what) for one in requirements if one.margin is not None]
    for where, name in asked:
        if name not in names:
            raise PortbevError(f"no metric {name!r}", where=where, cure=nearest(name, names))


def widened(judgement: Judgement, requirements: Sequence[Requirement], benchmark: str) -> Judgement:
    """The judgement with names turned into keys, and the required margins among the declared ones."""
    keys = {metric.name: metric.key for metric in _columns(find_benchmark(benchmark))}

    def by_key(values: dict[str, float]) -> dict[str, float]:
        return {keys.get(name, name): value for name, value in values.items()}

    required = {one.what: one.margin for one in requirements if one.margin is not None}
    margins = {**by_key(judgement.margins), **by_key(required)}
    return judgement.model_copy(update={"margins": margins, "spreads": by_key(judgement.spreads)})


def judge_gate(report: ParityReport, requirements: Sequence[Requirement]) -> Gate:
    """Whether ``report`` shows what is required, of every side of every group."""
    reasons = []
    compared = [group for group in report.groups if group.verdicts]
    if not compared:
        reasons.append("nothing is compared: no group has runs of two sides")
    reasons += [
        f"{group.baseline}: alone in its group, compared with nothing"
        for group in report.groups
        if not group.verdicts and compared
    ]
    for group in compared:
        for requirement in requirements:
            reasons += _reasons(group, requirement)
    return Gate(required=[str(one) for one in requirements], passed=not reasons, reasons=reasons)


def _reasons(group: Group, requirement: Requirement) -> list[str]:
    if requirement.what == "within-rounding":
        return [
            f"{verdict.side}: the losses are not shown to be within rounding ({_losses(group, verdict.side)})"
            for verdict in group.verdicts
            if verdict.losses not in ("identical", "within rounding")
        ]
    wanted = [one for one in group.comparisons if one.kind != "class" and _is_asked(one, requirement)]
    if not wanted:
        return [f"{requirement}: {group.benchmark} has no such metric"]
    return [f"{one.side} against {one.baseline}: {one.says}" for one in wanted if one.verdict != "equivalent"]


def _is_asked(one: Comparison, requirement: Requirement) -> bool:
    return one.headline if requirement.margin is None else requirement.what in (one.key, one.name)


def _losses(group: Group, side: str) -> str:
    runs = next(one.runs for one in group.sides if one.label == side)
    curves = [curve for curve in group.curves if curve.run in runs and not curve.identical]
    if not curves:
        return "no run has losses in common with its partner"
    first = next((curve for curve in curves if curve.band is not None and curve.band.verdict == "outside"), curves[0])
    return first.band.says if first.band is not None else f"{first.verdict}; no control runs were given"


def _columns(benchmark: Benchmark) -> list[Metric]:
    return table.columns(benchmark)
