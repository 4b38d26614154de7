"""The charts of a group: per loss term its curves, and below them how far runs are from what they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portbev.parity.document import CurveComparison, Group
from portbev.parity.render import figures
from portbev.parity.render.colours import drawn_sides
from portbev.parity.runs import LabelledRun

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True)
class Chart:
    """Charts of one term.

    Attributes:
        curves: None for what is compared and is no loss, such as the norm of the gradient.
        differences: None where no run differs, or all differ in their seed.
        compared: run, its baseline and the first step at which they differ, for each run in ``differences``.
        identical: whether all runs have the same bits.
        banded: whether the differences stand before a band of control runs.
    """

    term: str
    curves: Markup | None
    differences: Markup | None
    compared: list[tuple[str, str, int | None]]
    identical: bool
    banded: bool


def of_group(group: Group, runs: Sequence[LabelledRun], series: Mapping[str, int]) -> list[Chart]:
    """Every loss term in order, then what only the bands know."""
    by_label = {run.label: run for run in runs}
    sides = members(group, runs)
    names = figures.terms([by_label[label] for label in group.runs])
    banded = [term.term for curve in group.curves if curve.band for term in curve.band.terms]
    return [
        _chart(f"g{group.number}c{place}", term, term in names, group, sides, by_label, series)
        for place, term in enumerate(dict.fromkeys([*names, *banded]))
    ]


def members(group: Group, runs: Sequence[LabelledRun]) -> dict[str, list[LabelledRun]]:
    """The group's runs by side."""
    by_label = {run.label: run for run in runs}
    return {name: [by_label[label] for label in labels] for name, labels in drawn_sides(group)}


def _chart(
    name: str,
    term: str,
    is_loss: bool,
    group: Group,
    sides: Mapping[str, Sequence[LabelledRun]],
    by_label: Mapping[str, LabelledRun],
    series: Mapping[str, int],
) -> Chart:
    from markupsafe import Markup

    curves = Markup(figures.term_svg(term, figures.lines(term, sides, series), name)) if is_loss else None
    drawn, compared, same = [], [], []
    for curve in group.curves:
        found = next((one for one in curve.terms if one.term == term), None)
        same.append(found is not None and found.identical)
        gap = _gap(term, curve, by_label, series)
        if gap is not None:
            drawn.append(gap)
            compared.append((curve.run, curve.baseline, found.first_step if found else None))
    differences = Markup(figures.differences_svg(term, drawn, f"{name}d")) if drawn else None
    banded = any(gap.limits for gap in drawn)
    return Chart(term, curves, differences, compared, bool(same) and all(same), banded)


def _gap(
    term: str, curve: CurveComparison, by_label: Mapping[str, LabelledRun], series: Mapping[str, int]
) -> figures.Gap | None:
    run, baseline = by_label[curve.run], by_label[curve.baseline]
    if run.record.seed != baseline.record.seed:
        return None  # how far two seeds are apart says nothing of two devices
    band = next((one for one in curve.band.terms if one.term == term), None) if curve.band else None
    if band is not None and any(band.sizes):
        sizes = [float("nan") if size is None else size for size in band.sizes]
        return figures.Gap(curve.run, series[curve.run], band.steps, sizes, band.limits)
    return None if band is not None else figures.gap(term, run, baseline, series[curve.run])
