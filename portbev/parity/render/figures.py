"""Loss curves as pictures: SVG that follows the page's colours, PNG for Markdown.

The same input gives the same bytes: no dates, fixed salts.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.parity.render.colours import COLOURS
from portbev.parity.render.svg import INK, LINE, as_svg, slot
from portbev.parity.runs import LabelledRun

POINTS = 300
"""At most so many points a curve: about one a pixel."""

APART = 3
"""Runs of one side are drawn apart up to this number, as a mean and a band beyond it."""

_SAID = 6  # so many curves are said in words
_MARKED = 60  # points of a line up to this number have a dot each
_INK, _GRID = "#33383f", "#d8dce2"
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A curve: one run's, or the mean of a side's runs. ``low`` and ``high``: the band around it, None without one."""

    label: str
    series: int
    steps: _Floats
    values: _Floats
    low: _Floats | None = None
    high: _Floats | None = None

    @property
    def said(self) -> str:
        """The curve in words."""
        return f"{self.label} from {self.values[0]:.4g} to {self.values[-1]:.4g}"


@dataclass(frozen=True)
class Gap:
    """How far a run is from what it is compared with, and the limit of that where there is one."""

    label: str
    series: int
    steps: Sequence[int]
    sizes: Sequence[float]
    limits: Sequence[float] = ()

    @property
    def said(self) -> str:
        known = [(step, size) for step, size in zip(self.steps, self.sizes, strict=True) if math.isfinite(size)]
        if not known:
            return f"{self.label}: not finite"
        (first, small), (last, large) = known[0], known[-1]
        return f"{self.label} from {small:.1e} at step {first} to {large:.1e} at step {last}"


def terms(runs: Sequence[LabelledRun]) -> list[str]:
    """Loss terms of the runs in the order in which they appear; the total first."""
    seen = {term: None for run in runs for row in run.scalars for term in row.losses}
    return sorted(seen, key=lambda term: term != "total")


def lines(term: str, sides: Mapping[str, Sequence[LabelledRun]], series: Mapping[str, int]) -> list[Line]:
    """The curves of ``term``: of each run, or of a side where it has many.

    Args:
        sides: name -> runs.
        series: run or side -> place among the colours.
    """
    found = []
    for side, members in sides.items():
        if len(members) > APART:
            found += _side_line(term, side, members, series[side])
            continue
        for run in members:
            steps, values = _series(term, run)
            if len(steps):
                found.append(Line(run.label, series[run.label], *_thin(steps, values)))
    return found


def term_svg(term: str, drawn: Sequence[Line], name: str) -> str:
    """One chart of a term over steps, all curves on top of each other.

    Args:
        drawn: the term's :func:`lines`.
        name: prefix of the ids inside, the page's only one.
    """
    figure = _figure(4.2, 2.4)
    _draw(figure.add_subplot(), drawn, [slot(line.series) for line in drawn], INK, LINE)
    steps = max((int(line.steps[-1]) for line in drawn), default=0)
    said = "; ".join(line.said for line in drawn[:_SAID]) + (" and more" if len(drawn) > _SAID else "")
    return as_svg(figure, name, f"{term} over {steps} steps. {said}.")


def differences_svg(term: str, gaps: Sequence[Gap], name: str) -> str:
    """How far runs are from what they are compared with, over steps, on a logarithmic axis; limits are dashed."""
    figure = _figure(4.2, 1.7)
    axes = figure.add_subplot()
    _style(axes, INK, LINE)
    axes.set_yscale("log")
    for gap in gaps:
        marker = {"marker": ".", "markersize": 3.0} if len(gap.steps) <= _MARKED else {}
        axes.plot(gap.steps, gap.sizes, color=slot(gap.series), linewidth=1.1, **marker)
        if gap.limits:
            axes.plot(gap.steps, gap.limits, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.75)
    _decades(axes)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step", fontsize=9, color=INK)
    more = " and more" if len(gaps) > _SAID else ""
    said = "; ".join(gap.said for gap in gaps[:_SAID])
    return as_svg(figure, name, f"Absolute difference of {term}. {said}{more}.")


def losses_png(sides: Mapping[str, Sequence[LabelledRun]], series: Mapping[str, int]) -> bytes:
    """All terms of a group in one picture, on white."""
    names = terms([run for members in sides.values() for run in members])
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = _figure(4.2 * columns, 2.6 * rows + 0.5)
    for place, term in enumerate(names, 1):
        axes = figure.add_subplot(rows, columns, place)
        drawn = lines(term, sides, series)
        _draw(axes, drawn, [COLOURS[line.series % len(COLOURS)] for line in drawn], _INK, _GRID)
        axes.set_title(term, fontsize=10, color=_INK, loc="left")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9, labelcolor=_INK)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=140, facecolor="white", metadata={"Software": None})
    return target.getvalue()


def _draw(axes: Any, drawn: Sequence[Line], colours: Sequence[str], ink: str, grid: str) -> None:
    _style(axes, ink, grid)
    for place, (line, colour) in enumerate(zip(drawn, colours, strict=True)):
        # Each curve is narrower than the one beneath: curves that are equal stay visible as a border.
        above = len(drawn) - 1 - place
        width, alpha = 1.2 + 2.2 * min(above, 4), 0.7 if above else 1.0
        if line.low is not None and line.high is not None:
            axes.fill_between(line.steps, line.low, line.high, color=colour, alpha=0.16, linewidth=0)
            width, alpha = 1.4, 1.0
        axes.plot(line.steps, line.values, color=colour, linewidth=width, alpha=alpha, label=line.label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step", fontsize=9, color=ink)


def _series(term: str, run: LabelledRun) -> tuple[_Floats, _Floats]:
    rows = [(row.step, row.losses[term]) for row in run.scalars if term in row.losses]
    return np.array([step for step, _ in rows], dtype=np.float64), np.array([value for _, value in rows])


def _side_line(term: str, side: str, members: Sequence[LabelledRun], series: int) -> list[Line]:
    """The mean of a side's runs over the steps that all have, with the band from the smallest to the largest."""
    curves = [_series(term, run) for run in members]
    common = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in curves)))
    if not common:
        return []
    steps = np.array(common)
    values = np.stack([values[np.isin(own, steps)] for own, values in curves])
    at, mean, low, high = _thin(steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0))
    return [Line(f"{side}, {len(members)} runs", series, at, mean, low, high)]


def _thin(
    steps: _Floats, values: _Floats, low: _Floats | None = None, high: _Floats | None = None
) -> tuple[_Floats, _Floats, _Floats | None, _Floats | None]:
    """Long curves as the mean of bins with their smallest and largest value, so that nothing is hidden."""
    if len(steps) <= POINTS:
        return steps, values, low, high
    edges = np.linspace(0, len(steps), POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(steps)))
    mean, at = np.add.reduceat(values, edges) / counts, np.add.reduceat(steps, edges) / counts
    low, high = (values if one is None else one for one in (low, high))
    return at, mean, np.minimum.reduceat(low, edges), np.maximum.reduceat(high, edges)


def gap(term: str, run: LabelledRun, baseline: LabelledRun, series: int) -> Gap | None:
    """The steps at which ``term`` differs, and by how much; None where there are none."""
    theirs = {row.step: row.losses.get(term) for row in baseline.scalars}
    pairs = [(row.step, row.losses.get(term), theirs.get(row.step)) for row in run.scalars]
    sizes = [(step, abs(a - b)) for step, a, b in pairs if a is not None and b is not None]
    kept = [(step, size) for step, size in sizes if size > 0 and math.isfinite(size)]
    # Long ones as the largest of each stretch: a spike stays.
    stride = max(1, math.ceil(len(kept) / POINTS))
    thinned = [max(kept[start : start + stride], key=lambda pair: pair[1]) for start in range(0, len(kept), stride)]
    return Gap(run.label, series, [step for step, _ in thinned], [size for _, size in thinned]) if kept else None


def _decades(axes: Any) -> None:
    """A logarithmic axis that shows two powers of ten at least, and has labels at those alone."""
    from matplotlib.ticker import NullFormatter

    low, high = axes.get_ylim()
    if high < 100 * low:
        middle = math.sqrt(low * high)
        axes.set_ylim(middle / 10, middle * 10)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _style(axes: Any, ink: str, grid: str) -> None:
    axes.grid(True, color=grid, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=ink, labelsize=9, length=0)
    axes.margins(x=0.01)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(grid)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
