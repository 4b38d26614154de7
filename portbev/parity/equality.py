"""Is a side equal to the baseline side: which figures are asked about, and the verdict over all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from portbev.evaluate.benchmark import Benchmark, Metric
from portbev.files import finite
from portbev.parity import table
from portbev.parity.document import CurveComparison
from portbev.parity.judging import Question, answer
from portbev.parity.runs import LabelledRun
from portbev.parity.sides import SideRuns
from portbev.parity.verdict_text import overall
from portbev.parity.verdicts import Comparison, CurveVerdict, Judgement, SideVerdict, Verdict

CLASS = "class"
HALF_A_POINT = 0.005
COST_MARGIN = 0.05
_SPEED, _MEMORY = ("training_fps", "inference_fps"), ("training_memory", "inference_memory")

Figure = Callable[[LabelledRun], float | None]


def default_margins(benchmark: Benchmark, classes: int) -> dict[str, float]:
    """The margins that hold where none is declared.

    Half a point of the headline metrics; of a class's figure as much as ``classes`` independent classes need to make
    half a point of their mean; 5 % of speed and memory. Other metrics have none.
    """
    margins = {
        metric.key: HALF_A_POINT * _point(metric)
        for metric in benchmark.metrics
        if metric.key in benchmark.headline and metric.unit in ("", "%")
    }
    if margins and classes:
        margins[CLASS] = next(iter(margins.values())) * math.sqrt(classes)
    return {**margins, **{metric.key: COST_MARGIN for metric in table.COSTS}}


def _point(metric: Metric) -> float:
    return 100.0 if metric.unit == "%" else 1.0


def compare_sides(
    sides: Sequence[SideRuns],
    benchmark: Benchmark,
    classes: Sequence[str],
    curves: Sequence[CurveComparison],
    judgement: Judgement,
) -> list[Comparison]:
    """Every figure of every side against the first side."""
    base, *others = sides
    margins = {**default_margins(benchmark, len(classes)), **judgement.margins}
    questions: list[Question] = []
    for side in others:
        same = _identical(side, base, curves)
        refused = _uncounted(side, base)
        questions += [
            Question(
                "accuracy",
                metric.key,
                metric.name,
                side.label,
                base.label,
                *_values(side, base, _figure(metric)),
                margin=margins.get(metric.key),
                headline=metric.key in benchmark.headline,
                better=metric.better,
                spread=judgement.spreads.get(metric.key),
                identical=same,
                refused=refused,
            )
            for metric in benchmark.metrics
        ]
        questions += [
            Question(
                "class",
                name,
                name,
                side.label,
                base.label,
                *_values(side, base, _class_figure(benchmark, name)),
                margin=margins.get(CLASS),
                spread=judgement.spreads.get(CLASS),
                identical=same,
                refused=refused,
            )
            for name in classes
        ]
        questions += [_cost(metric, side, base, margins, judgement) for metric in table.COSTS]
    return answer(questions, judgement)


def side_verdicts(
    sides: Sequence[SideRuns], comparisons: Sequence[Comparison], curves: Sequence[CurveComparison]
) -> list[SideVerdict]:
    """A line for every side but the first."""
    base, *others = sides
    return [_side_verdict(side, base, comparisons, curves) for side in others]


def _side_verdict(
    side: SideRuns, base: SideRuns, comparisons: Sequence[Comparison], curves: Sequence[CurveComparison]
) -> SideVerdict:
    mine = [one for one in comparisons if one.side == side.label]
    headline = [one for one in mine if one.kind == "accuracy" and one.headline]
    elsewhere = [one for one in mine if one.kind == "accuracy" and not one.headline and one.verdict == "different"]
    elsewhere += [one for one in mine if one.kind == "class" and one.verdict == "different"]
    labels = {run.label for run in side.runs}
    losses, said = _losses([curve for curve in curves if curve.run in labels])
    accuracy = together([one.verdict for one in headline])
    speed = together([one.verdict for one in mine if one.key in _SPEED and _has(one)])
    memory = together([one.verdict for one in mine if one.key in _MEMORY and _has(one)])
    parts = [f"losses: {said}", overall("accuracy", accuracy, headline)]
    if elsewhere:
        parts.append(f"different in {', '.join(one.name for one in elsewhere)}")
    for name, verdict, keys in (("speed", speed, _SPEED), ("memory", memory, _MEMORY)):
        if verdict != "not judged":
            parts.append(overall(name, verdict, [one for one in mine if one.key in keys]))
    text = f"{side.label} against {base.label}, {'; '.join(parts)}"
    return SideVerdict(
        side=side.label, baseline=base.label, accuracy=accuracy, losses=losses, speed=speed, memory=memory, says=text
    )


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Equivalent where all are, different where any is."""
    if not verdicts or all(verdict == "not judged" for verdict in verdicts):
        return "not judged"
    if "different" in verdicts:
        return "different"
    return "equivalent" if all(verdict == "equivalent" for verdict in verdicts) else "undecided"


def _has(comparison: Comparison) -> bool:
    return bool(comparison.seeds and comparison.baseline_seeds)


def _losses(curves: Sequence[CurveComparison]) -> tuple[CurveVerdict, str]:
    """The verdict on the losses of all runs of a side, and its words."""
    if not curves:
        return "not judged", "no run has a partner"
    if all(curve.identical for curve in curves):
        steps = curves[0].steps
        runs = f" for each of {len(curves)} seeds" if len(curves) > 1 else ""
        return "identical", f"bit-identical over {steps} steps{runs}"
    differing = [curve for curve in curves if not curve.identical]
    judged = [curve for curve in differing if curve.band is not None]
    first = next((curve for curve in judged if _verdict_of(curve) == "outside"), (judged or differing)[0])
    runs = f" ({first.run}; {len(differing)} of {len(curves)} runs differ)" if len(curves) > 1 else ""
    if first.band is None:
        return "not judged", f"{first.verdict}{runs}"
    return first.band.verdict, f"{first.band.says}{runs}"


def _verdict_of(curve: CurveComparison) -> CurveVerdict:
    return "not judged" if curve.band is None else curve.band.verdict


def _identical(side: SideRuns, base: SideRuns, curves: Sequence[CurveComparison]) -> bool:
    """Whether each counted run has the losses and figures, bit by bit, of the other side's run with its seed."""
    by_run = {curve.run: curve for curve in curves}
    if not side.counted or side.counted.keys() != base.counted.keys():
        return False
    for seed, run in side.counted.items():
        curve, other = by_run.get(run.label), base.counted[seed]
        if curve is None or curve.baseline != other.label or not curve.identical:
            return False
        mine, theirs = table.accuracy(run), table.accuracy(other)
        if mine != theirs:
            return False
    return True


def _uncounted(side: SideRuns, base: SideRuns) -> str:
    for one in (side, base):
        if not one.counted:
            return one.remarks[0] if one.remarks else f"no run of {one.label} counts"
    return ""


def _values(side: SideRuns, base: SideRuns, figure: Figure) -> tuple[Mapping[int, float], Mapping[int, float]]:
    a, b = (
        {seed: value for seed, run in one.counted.items() if (value := figure(run)) is not None} for one in (side, base)
    )
    return a, b


def _figure(metric: Metric) -> Figure:
    return lambda run: table.values(run)[metric.key]


def _class_figure(benchmark: Benchmark, name: str) -> Figure:
    def figure(run: LabelledRun) -> float | None:
        content = {} if run.metrics is None else run.metrics.content
        value: float | None = finite(benchmark.class_figures(content)).get(name)
        return value

    return figure


def _cost(
    metric: Metric, side: SideRuns, base: SideRuns, margins: Mapping[str, float], judgement: Judgement
) -> Question:
    a, b = _values(side, base, _figure(metric))
    return Question(
        "cost",
        metric.key,
        metric.name,
        side.label,
        base.label,
        _positive(a),
        _positive(b),
        margin=margins[metric.key],
        scale="ratio",
        better=metric.better,
        spread=judgement.spreads.get(metric.key),
        refused=_costs_apart(metric, side, base),
    )


def _positive(values: Mapping[int, float]) -> dict[int, float]:
    """Figures that have a logarithm."""
    return {seed: value for seed, value in values.items() if value > 0}


def _costs_apart(metric: Metric, side: SideRuns, base: SideRuns) -> str:
    """Why speed or memory of two sides cannot be compared; empty if they can."""
    for one in (side, base):
        if one.emulated:
            return f"{one.label} ran on the host, which says nothing of the device"
    kinds = [one.runs[0].record.backend.device_type for one in (side, base)]
    if metric.unit == "B" and len(set(kinds)) > 1 and "cpu" in kinds:
        return "on the CPU it is the resident memory of the process, on a device the device's own counter"
    worlds = [one.runs[0].record.backend.world_size for one in (side, base)]
    if len(set(worlds)) > 1:
        return f"other numbers of devices ({worlds[0]} and {worlds[1]})"
    return ""
