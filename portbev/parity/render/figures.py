"""Loss curves as pictures: SVG that follows the page's colours, PNG for Markdown.

The same input gives the same bytes: no dates, fixed salts.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.parity.runs import LabelledRun

COLOURS = ("#2563b0", "#d9622b", "#2c8a5a", "#8a4fb0", "#b58a16", "#c23b63", "#3c8f9c", "#6b6b6b")
"""One per run, in order; the page repeats them as CSS variables ``--s0`` ..."""

_POINTS = 400
_INK, _GRID = "#33383f", "#d8dce2"
# Colours that stand for CSS variables: SVG drawn with them takes the page's light or dark scheme.
_SLOT_INK, _SLOT_GRID = "#0a0b01", "#0a0b02"
_SLOTS = {_SLOT_INK: "var(--ink)", _SLOT_GRID: "var(--line)"}
_SERIES = {f"#0a0c{index:02x}": f"var(--s{index})" for index in range(len(COLOURS))}


def terms(runs: Sequence[LabelledRun]) -> list[str]:
    """Loss terms of the runs in the order in which they appear; the total first."""
    seen = {term: None for run in runs for row in run.scalars for term in row.losses}
    return sorted(seen, key=lambda term: term != "total")


def term_svg(term: str, runs: Sequence[LabelledRun], series: Sequence[int]) -> str:
    """One chart of ``term`` over steps, all runs on top of each other, as inline SVG without a size of its own.

    ``series``: each run's place among the page's colours.
    """
    figure = _figure(4.2, 2.5)
    _draw(figure.add_subplot(), term, runs, [_slot(index) for index in series], _SLOT_INK, _SLOT_GRID)
    return _svg(figure)


def difference_svg(term: str, run: LabelledRun, baseline: LabelledRun, index: int) -> str:
    """Absolute difference of ``term`` to the baseline over steps, on a logarithmic axis."""
    figure = _figure(4.2, 1.5)
    axes = figure.add_subplot()
    steps, sizes = _difference(term, run, baseline)
    _style(axes, _SLOT_INK, _SLOT_GRID)
    axes.set_yscale("log")
    axes.plot(steps, sizes, color=_slot(index), linewidth=1.1, marker=".", markersize=2.5)
    axes.set_ylabel("|difference|", fontsize=8, color=_SLOT_INK)
    return _svg(figure)


def losses_png(runs: Sequence[LabelledRun], series: Sequence[int]) -> bytes:
    """All terms of a group in one picture, on white."""
    names = terms(runs)
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure = _figure(4.2 * columns, 2.6 * rows + 0.5)
    for place, term in enumerate(names, 1):
        axes = figure.add_subplot(rows, columns, place)
        _draw(axes, term, runs, [COLOURS[index % len(COLOURS)] for index in series], _INK, _GRID)
        axes.set_title(term, fontsize=10, color=_INK, loc="left")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize=9, labelcolor=_INK)
    target = io.BytesIO()
    figure.savefig(target, format="png", dpi=140, facecolor="white", metadata={"Software": None})
    return target.getvalue()


def _draw(axes: Any, term: str, runs: Sequence[LabelledRun], colours: Sequence[str], ink: str, grid: str) -> None:
    _style(axes, ink, grid)
    for place, (run, colour) in enumerate(zip(runs, colours, strict=True)):
        steps, values = _series(term, run)
        if not len(steps):
            continue
        # Each run is narrower than the one beneath: runs that are equal stay visible as a border.
        above = len(runs) - 1 - place
        width, alpha = 1.2 + 2.2 * min(above, 4), 0.7 if above else 1.0
        middle, low, high = _thin(steps, values)
        if low is not None and high is not None:
            axes.fill_between(middle[0], low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(*middle, color=colour, linewidth=width, alpha=alpha, label=run.label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("step", fontsize=8, color=ink)


def _slot(index: int) -> str:
    return list(_SERIES)[index % len(_SERIES)]


def _series(term: str, run: LabelledRun) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    rows = [(row.step, row.losses[term]) for row in run.scalars if term in row.losses]
    steps = np.array([step for step, _ in rows], dtype=np.int64)
    return steps, np.array([value for _, value in rows], dtype=np.float64)


def _thin(steps: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """Long curves as the mean of bins with their smallest and largest value, so that nothing is hidden."""
    if len(steps) <= _POINTS:
        return (steps, values), None, None
    edges = np.linspace(0, len(steps), _POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(steps)))
    mean = np.add.reduceat(values, edges) / counts
    at = np.add.reduceat(steps.astype(np.float64), edges) / counts
    return (at, mean), np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)


def _difference(term: str, run: LabelledRun, baseline: LabelledRun) -> tuple[list[int], list[float]]:
    theirs = {row.step: row.losses.get(term) for row in baseline.scalars}
    pairs = [(row.step, row.losses.get(term), theirs.get(row.step)) for row in run.scalars]
    sizes = [(step, abs(a - b)) for step, a, b in pairs if a is not None and b is not None]
    kept = [(step, size) for step, size in sizes if size > 0 and math.isfinite(size)]
    stride = max(1, math.ceil(len(kept) / _POINTS))
    return [step for step, _ in kept[::stride]], [size for _, size in kept[::stride]]


def _style(axes: Any, ink: str, grid: str) -> None:
    axes.grid(True, color=grid, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=ink, labelsize=8, length=0)
    axes.margins(x=0.01)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(grid)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    target = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "portbev"}):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', text, count=1, flags=re.DOTALL
    )
    text = re.sub(r'xlink:href="#', 'href="#', text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--font)", text)
    for slot, variable in (*_SLOTS.items(), *_SERIES.items()):
        text = text.replace(slot, variable)
    return text.strip()
