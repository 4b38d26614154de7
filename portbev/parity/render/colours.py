"""Which runs are drawn together, and the colour of each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from portbev.parity.document import Group, ParityReport

COLOURS = ("#2563b0", "#d9622b", "#2c8a5a", "#8a4fb0", "#b58a16", "#c23b63", "#3c8f9c", "#6b6b6b")
"""One per series, in order; the page repeats them as CSS variables ``--s0`` ..."""


def drawn_sides(group: Group) -> list[tuple[str, list[str]]]:
    """The group's sides, and each run that is in none as one of its own: name and runs."""
    sides = [(side.label, side.runs) for side in group.sides]
    placed = {label for _, labels in sides for label in labels}
    return [*sides, *((label, [label]) for label in group.runs if label not in placed)]


def series_of(report: ParityReport) -> dict[str, int]:
    """Run or side -> place among the colours.

    A run has a colour of its own while there are enough of them; beyond that all runs of a side share one.
    """
    series: dict[str, int] = {}
    shared = len(report.runs) > len(COLOURS)
    places = {run.label: place for place, run in enumerate(report.runs)}
    numbers: dict[str, int] = {}
    for name, labels in (side for group in report.groups for side in drawn_sides(group)):
        number = numbers.setdefault(name, len(numbers))
        for label in labels:
            series[label] = (number if shared else places[label]) % len(COLOURS)
        series.setdefault(name, series[labels[0]])
    return series


def alike(labels: Sequence[str], facts: Sequence[Mapping[str, Hashable]]) -> list[list[str]]:
    """``labels`` in sets for which all ``facts`` (label -> value) are the same, in order of their first."""
    found: dict[tuple[Hashable, ...], list[str]] = {}
    for label in labels:
        found.setdefault(tuple(fact.get(label) for fact in facts), []).append(label)
    return list(found.values())
