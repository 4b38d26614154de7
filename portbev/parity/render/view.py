"""What the page shows of a group, taken from the report and put in the page's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from portbev.evaluate.benchmark import Metric, find_benchmark, headline_metrics
from portbev.parity.document import CurveComparison, Group, ParityReport, RunEntry
from portbev.parity.render import intervals, text
from portbev.parity.verdicts import Comparison, Side, SideVerdict


@dataclass(frozen=True)
class Cell:
    """A figure of a run or a side, and its difference to the baseline's.

    Attributes:
        sort: the figure in full.
        change: the difference, with sign; empty where there is none.
        effect: ``better``, ``worse`` or ``same``.
        spread: the standard deviation over seeds; empty where there is none.
    """

    metric: Metric
    value: str
    sort: float | None
    change: str = ""
    effect: str = "same"
    spread: str = ""


@dataclass(frozen=True)
class ClassCell:
    """A class's figure, and its difference to the baseline's; empty where that is zero or not judged."""

    value: str
    sort: float | None
    change: str
    effect: str


@dataclass(frozen=True)
class Result:
    """A side's card. ``stamp``: the verdict in words; ``lines``: what else is to be known of it."""

    verdict: SideVerdict
    stamp: str
    tiles: list[tuple[Metric, Comparison]]
    lines: list[str]


def _stamp(verdict: SideVerdict, tiles: Sequence[tuple[Metric, Comparison]]) -> str:
    more = [one.more_runs for _, one in tiles if one.verdict == "undecided" and one.more_runs]
    if verdict.accuracy != "undecided" or not more:
        return verdict.accuracy
    return f"undecided: {max(more)} more seed{'s' if max(more) > 1 else ''}"


def _why(tiles: Sequence[tuple[Metric, Comparison]]) -> list[str]:
    """Why there is no verdict, where more seeds are not the answer."""
    reasons = [one.says for _, one in tiles if one.verdict in ("undecided", "not judged") and not one.more_runs]
    return reasons[:1]


class GroupView:
    """A group with its figures in reading order: those of the headline first."""

    def __init__(self, report: ParityReport, group: Group) -> None:
        self.report, self.group = report, group
        self.anchor = f"g{group.number}"
        self.baseline = report.run(group.baseline)
        self.entries = [report.run(label) for label in group.runs]
        self.head = headline_metrics(find_benchmark(group.benchmark))
        first = {metric.key for metric in self.head}
        self.metrics = [*self.head, *(metric for metric in group.metrics if metric.key not in first)]
        self._by_key = {metric.key: metric for metric in self.metrics}

    @property
    def title(self) -> str:
        """``bevdepth on v1.0-mini/mini_val``; the digests are for small print."""
        run = self.baseline
        data = "/".join(part for part in (run.data_version, run.eval_split) if part)
        return f"{self.group.family} on {data}" if data else self.group.family

    @property
    def named(self) -> str:
        """What tells this group's tables from those of another group, for who hears their names."""
        return f", group {self.group.number}" if len(self.report.groups) > 1 else ""

    @property
    def seeded(self) -> bool:
        """Whether any side has several runs, so that figures are shown by side before they are by run."""
        return any(len(side.runs) > 1 for side in self.group.sides)

    def partner(self, run: RunEntry) -> RunEntry:
        """The run that ``run`` is compared with: the baseline's of the same seed where there is one."""
        return next(
            (self.report.run(curve.baseline) for curve in self.group.curves if curve.run == run.label), self.baseline
        )

    def run_cells(self, run: RunEntry) -> list[Cell]:
        cells, partner = [], self.partner(run)
        for metric in self.metrics:
            value, change = run.values.get(metric.key), run.differences.get(metric.key)
            base = partner.values.get(metric.key)
            said, effect = text.difference(metric, change, base), text.effect(metric, change, run)
            cells.append(Cell(metric, text.number(metric, value), value, said, effect))
        return cells

    def side_cells(self, side: Side) -> list[Cell]:
        """Means over a side's runs; the baseline side's are in the comparisons with it."""
        cells = []
        for metric in self.metrics:
            one = self._comparison(side, metric)
            if one is None:
                cells.append(Cell(metric, text.NONE, None))
                continue
            mean, std = (one.baseline_mean, one.baseline_std) if side.is_baseline else (one.mean, one.std)
            value, spread = text.number(metric, mean), text.spread(metric, std)
            shown = one.estimate is not None and not side.is_baseline
            change, effect = (text.change(one, one.estimate), text.direction(one)) if shown else ("", "same")
            cells.append(Cell(metric, value, mean, change, effect, spread))
        return cells

    def _comparison(self, side: Side, metric: Metric) -> Comparison | None:
        of_side = [one for one in self.group.comparisons if side.is_baseline or one.side == side.label]
        return next((one for one in of_side if one.kind != "class" and one.key == metric.key), None)

    def result(self, verdict: SideVerdict) -> Result:
        """The card of a side: its verdict, the headline figures, and what else is to be known."""
        found = {one.key: one for one in self.group.compared(verdict.side, "accuracy")}
        tiles = [(metric, found[metric.key]) for metric in self.head if metric.key in found]
        lines = [*_why(tiles), f"Losses: {self._losses(verdict)}"]
        mine = [one for one in self.group.comparisons if one.side == verdict.side]
        if others := [
            one.name for one in mine if one.kind != "cost" and not one.headline and one.verdict == "different"
        ]:
            lines.append(f"Different in {', '.join(others)}")
        lines.append(f"Speed: {verdict.speed}; memory: {verdict.memory}")
        return Result(verdict, _stamp(verdict, tiles), tiles, lines)

    def curves_of(self, verdict: SideVerdict) -> list[CurveComparison]:
        side = next((side for side in self.group.sides if side.label == verdict.side), None)
        return [curve for curve in self.group.curves if side is not None and curve.run in side.runs]

    def _losses(self, verdict: SideVerdict) -> str:
        curves = self.curves_of(verdict)
        if len(curves) == 1:
            (curve,) = curves
            return curve.band.says if curve.band else curve.verdict
        same = sum(curve.identical for curve in curves)
        return verdict.losses + (f", {same} of {len(curves)} pairs bit-identical" if curves else "")

    def compared(self, verdict: SideVerdict, kind: str) -> list[Comparison]:
        """Comparisons of a side in the page's order."""
        order = {metric.key: place for place, metric in enumerate(self.metrics)}
        found = self.group.compared(verdict.side, kind)
        return sorted(found, key=lambda one: order.get(one.key, len(order)))

    def strips(self, verdict: SideVerdict, kind: str) -> list[intervals.Strip]:
        return intervals.strips(self.compared(verdict, kind))

    def has_strips(self, kind: str) -> bool:
        return any(self.strips(verdict, kind) for verdict in self.group.verdicts)

    def class_dots(self, verdict: SideVerdict) -> intervals.Strip | None:
        return intervals.dots(self.compared(verdict, "class"))

    def curve_lines(self) -> list[tuple[str, str]]:
        """Run and what is to be said of its losses beyond what its side's card says already."""
        on_cards = [curves[0].run for verdict in self.group.verdicts if len(curves := self.curves_of(verdict)) == 1]
        lines = []
        for curve in self.group.curves:
            known = curve.run in on_cards
            parts = [] if known else [curve.verdict, *([curve.band.says] if curve.band else [])]
            if known and curve.band:
                parts.append(curve.verdict)
            parts += curve.remarks
            if parts:
                lines.append((curve.run, f"against {curve.baseline}: {'; '.join(part.rstrip('.') for part in parts)}."))
        return lines

    def metric(self, key: str) -> Metric | None:
        return self._by_key.get(key)

    @cached_property
    def class_columns(self) -> list[str]:
        """Sides where there are several seeds, else runs: whose figures per class stand beside each other."""
        return [side.label for side in self.group.sides] if self.seeded else self.group.runs

    def class_value(self, name: str, column: str) -> float | None:
        """A class's figure in a run, or the mean of a side's."""
        if not self.seeded:
            return self.group.class_aps[column].get(name)
        side = next(side for side in self.group.sides if side.label == column)
        one = self._class_comparison(name, side)
        if one is None:
            return None
        return one.baseline_mean if side.is_baseline else one.mean

    def class_cells(self, name: str) -> list[ClassCell]:
        """A class's figures in the columns, with their difference where it is judged and not zero."""
        cells = []
        for column in self.class_columns:
            value = self.class_value(name, column)
            said = text.NONE if value is None else f"{value:.4f}"
            side = next((side for side in self.group.sides if column in (side.label, *side.runs)), None)
            one = None if side is None or side.is_baseline else self._class_comparison(name, side)
            change, effect = ("", "same") if one is None else (text.change(one, one.estimate), text.direction(one))
            cells.append(ClassCell(said, value, "" if effect == "same" else change, effect))
        return cells

    def _class_comparison(self, name: str, side: Side) -> Comparison | None:
        of_class = (one for one in self.group.comparisons if one.kind == "class" and one.key == name)
        return next((one for one in of_class if side.is_baseline or one.side == side.label), None)

    @cached_property
    def most(self) -> float | None:
        """The largest figure of any class, which the bars are drawn against; None where no run was evaluated."""
        found = [self.class_value(name, column) for name in self.group.classes for column in self.class_columns]
        return max((value for value in found if value is not None), default=None)


def contents(groups: Sequence[GroupView], report: ParityReport) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The table of contents: anchor, title, and what is below it."""
    rows = []
    for view in groups:
        group, below = view.group, [("figures", "Figures")]
        if any(one.kind == "accuracy" for one in group.comparisons):
            below.append(("equivalence", "Difference and margin"))
        if view.most is not None:
            below.append(("classes", group.class_title))
        if any(one.kind == "cost" for one in group.comparisons):
            below.append(("cost", "Speed and memory"))
        if group.reference is not None and group.reference.comparisons:
            below.append(("reference", "Recorded original"))
        below.append(("losses", "Losses"))
        if report.published_beside(group):
            below.append(("published", "Published figures"))
        below.append(("runs", "The runs"))
        number = f"Group {group.number}: " if len(groups) > 1 else ""
        rows.append((view.anchor, number + view.title, [(f"{view.anchor}-{name}", said) for name, said in below]))
    if report.published_beside(None):
        rows.append(("published", "Published figures", []))
    rows.append(("operators", "Who computed each operator", []))
    if report.evidence:
        rows.append(("evidence", "Further evidence", []))
    return [*rows, ("environment", "Environment", []), ("configuration", "Configuration", []),
            ("limits", "What this report does not claim", [])]  # fmt: skip
