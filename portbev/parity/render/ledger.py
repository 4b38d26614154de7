"""Who computed each operator, and what differs, with runs that are alike under one head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portbev.parity.document import Differences, OperatorLedger, ParityReport, PassedOver
from portbev.parity.render.colours import alike
from portbev.parity.render.text import NONE

COLUMNS = 6
"""A table of settings has so many columns of values at most; beyond that it lists value by value."""


@dataclass(frozen=True)
class Row:
    operator: str
    direction: str
    cells: list[str]
    differs: bool


def columns(report: ParityReport) -> list[list[str]]:
    """Runs that every operator was computed for by the same providers."""
    facts = [
        {label: tuple(served) for label, served in by_run.items()}
        for page in called(report.ledger)
        for by_run in page.called().values()
    ]
    return alike([run.label for run in report.runs], facts)


def called(ledger: Sequence[OperatorLedger]) -> list[OperatorLedger]:
    """Without operators that no run has called: what a model never calls is no part of its story."""
    return [page for page in ledger if page.called()]


def rows(report: ParityReport) -> list[Row]:
    heads = columns(report)
    found = []
    for page in called(report.ledger):
        for direction, by_run in page.called().items():
            cells = [_calls([by_run.get(label, {}) for label in head]) for head in heads]
            found.append(Row(page.operator, direction, cells, page.differs))
    return found


def passed_over(report: ParityReport) -> list[tuple[str, list[PassedOver]]]:
    """Operator and equal records of several runs: the same provider for the same reason."""
    found: dict[tuple[str, str, str], list[PassedOver]] = {}
    for page in called(report.ledger):
        for one in page.passed_over:
            found.setdefault((page.operator, one.provider, one.reason), []).append(one)
    return [(operator, records) for (operator, _, _), records in found.items()]


def times(numbers: Sequence[int]) -> str:
    """``1,200``, or ``60 to 120`` where runs differ."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _calls(pages: Sequence[dict[str, int]]) -> str:
    providers = dict.fromkeys(name for page in pages for name in page)
    return " · ".join(f"{name} {times([page.get(name, 0) for page in pages])}" for name in providers) or NONE


@dataclass(frozen=True)
class Settings:
    """What differs between runs: a table with a column for runs that are alike, and settings with more values than
    that has room for, each with its values and whose they are. ``alone``: there is one run, all of it is ``common``."""

    heads: list[list[str]]
    rows: list[tuple[str, list[str | None]]]
    scattered: list[tuple[str, list[tuple[str | None, list[str]]]]]
    common: dict[str, str]
    alone: bool


def settings(found: Differences, labels: Sequence[str]) -> Settings:
    scattered = [row for row in found.differing if len(labels) > COLUMNS and len(set(row.values.values())) > COLUMNS]
    tabled = [row for row in found.differing if row not in scattered]
    heads = alike(labels, [row.values for row in tabled])
    if len(heads) > COLUMNS:
        heads, tabled, scattered = [], [], list(found.differing)
    by_value = []
    for row in scattered:
        whose: dict[str | None, list[str]] = {}
        for label in labels:
            whose.setdefault(row.values.get(label), []).append(label)
        by_value.append((row.key, list(whose.items())))
    cells = [(row.key, [row.values.get(head[0]) for head in heads]) for row in tabled]
    return Settings(heads if tabled else [], cells, by_value, found.common, len(labels) == 1)
