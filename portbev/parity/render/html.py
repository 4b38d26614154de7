"""The report as one HTML page that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portbev.evaluate.benchmark import find_benchmark
from portbev.parity.document import Group, ParityReport
from portbev.parity.render import figures, text
from portbev.parity.render.markdown import LIMITS
from portbev.parity.runs import LabelledRun
from portbev.parity.table import columns


def to_html(report: ParityReport, runs: Sequence[LabelledRun]) -> str:
    """The page: style and charts are inside it, it has no scripts and asks for no file or address."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("portbev.parity.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["commas"] = lambda value: f"{value:,}"
    places = {run.label: place for place, run in enumerate(report.runs)}
    by_label = {run.label: run for run in runs}
    style = environment.get_template("style.css").render(colours=figures.COLOURS)
    return environment.get_template("report.html").render(
        report=report,
        style=Markup(style),
        charts={group.number: _charts(group, by_label, places, Markup) for group in report.groups},
        series={label: place % len(figures.COLOURS) for label, place in places.items()},
        text=text,
        limits=LIMITS,
        columns=lambda table: table.columns(columns(find_benchmark(table.benchmark))),
        most=_most(report),
    ) + "\n"  # fmt: skip


def _charts(
    group: Group, by_label: dict[str, LabelledRun], places: dict[str, int], markup: Any
) -> list[dict[str, Any]]:
    """Per loss term its chart, and for each run that differs the difference below it."""
    members = [by_label[label] for label in group.runs]
    baseline = by_label[group.baseline]
    charts = []
    for term in figures.terms(members):
        below, same = [], []
        for curve in group.curves:
            comparison = next((t for t in curve.terms if t.term == term), None)
            same.append(comparison is not None and comparison.identical)
            if comparison is not None and not comparison.identical and comparison.largest_difference:
                svg = figures.difference_svg(term, by_label[curve.run], baseline, places[curve.run])
                below.append({"run": curve.run, "svg": markup(svg), "first": comparison.first_step})
        svg = figures.term_svg(term, members, [places[label] for label in group.runs])
        charts.append({"term": term, "svg": markup(svg), "differences": below, "identical": bool(same) and all(same)})
    return charts


def _most(report: ParityReport) -> dict[int, float | None]:
    """Per group the largest AP of any class, which the bars are drawn against; None where no run was evaluated."""
    largest = {}
    for group in report.groups:
        aps = [ap for by_class in group.class_aps.values() for ap in by_class.values() if ap is not None]
        largest[group.number] = max(aps, default=None)
    return largest
