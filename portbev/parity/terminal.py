"""The report's table and verdicts on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from portbev import terminal
from portbev.evaluate.benchmark import Metric
from portbev.parity.document import Group, ParityReport
from portbev.parity.render import text

Column = tuple[str, list[str]]


def show(report: ParityReport, written: Mapping[str, Path], console: Console | None = None) -> None:
    """Print a table per group, the verdicts, the warnings, and where the files are."""
    console = console or terminal.open_console()
    for group in report.groups:
        terminal.say(console, Text(group.title, "bold"))
        _print_columns(console, *(_of_runs if len(group.runs) == len(group.sides) else _of_sides)(report, group))
        console.print()
    for line in report.summary:
        terminal.say(console, line)
    for group in report.groups:
        for one in group.comparisons:
            if one.headline:
                terminal.say(console, f"  {one.side}: {one.says}")
    for said in dict.fromkeys(group.reference.says for group in report.groups if group.reference is not None):
        terminal.say(console, _labelled("original:", "dim", said))
    for verdicts in report.published_verdicts:
        terminal.say(console, _labelled("published:", "dim", verdicts.title))
        for line in verdicts.says:
            terminal.say(console, f"  {line}")
    for line in report.warnings:
        terminal.say(console, _labelled("note:", "yellow", line))
    if report.gate is not None:
        passed = Text("passed", "green") if report.gate.passed else Text("not passed", "red")
        terminal.say(console, Text(f"required: {', '.join(report.gate.required)}: ") + passed)
        for reason in report.gate.reasons:
            terminal.say(console, f"  {reason}")
    for kind in ("html", "markdown", "json", "csv"):
        terminal.say(console, f"{kind:>9}  {written[kind]}")


def _labelled(label: str, style: str, said: str) -> Text:
    return Text.assemble((label, style), f" {said}")


def _print_columns(console: Console, names: Sequence[str], columns: Sequence[Column]) -> None:
    """The rows ``names`` with as many columns as there is room for; the others in tables below, with the first again.

    The first column is what the others are compared with.
    """
    left = list(columns[1:])
    while True:
        shown = [columns[0], *left]
        while console.is_terminal and len(shown) > 2 and terminal.wide(console, _table(names, shown)) > console.width:
            shown.pop()
        terminal.print_whole(console, _table(names, shown))
        left = left[len(shown) - 1 :]
        if not left:
            return
        console.print()


def _table(names: Sequence[str], columns: Sequence[Column]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for label, _ in columns:
        table.add_column(Text(label), justify="right", no_wrap=True)
    for number, name in enumerate(names):
        table.add_row(name, *(cells[number] for _, cells in columns))
    return table


def _of_runs(report: ParityReport, group: Group) -> tuple[list[str], list[Column]]:
    """A column for each run: there is one of each side."""
    columns = []
    for label in group.runs:
        run, cells = report.run(label), []
        for metric in group.metrics:
            base = report.run(group.baseline).values[metric.key]
            change = text.difference(metric, run.differences.get(metric.key), base)
            cells.append(text.number(metric, run.values[metric.key]) + (f"  {change}" if change else ""))
        columns.append((label, cells))
    return [metric.name for metric in group.metrics], columns


def _of_sides(report: ParityReport, group: Group) -> tuple[list[str], list[Column]]:
    """A column for each side: mean and standard deviation over its seeds, and the verdict."""
    columns: list[Column] = [
        (f"{side.label} ({len(side.counted)} seed{'s' if len(side.counted) != 1 else ''})", []) for side in group.sides
    ]
    names = []
    for metric in group.metrics:
        found = [one for one in group.comparisons if one.kind != "class" and one.key == metric.key]
        if found:
            names.append(metric.name)
            mine = [f"{_mean(metric, one.mean, one.std)}  {one.verdict}" for one in found]
            base = _mean(metric, found[0].baseline_mean, found[0].baseline_std)
            for (_, cells), cell in zip(columns, [base, *mine], strict=True):
                cells.append(cell)
    return names, columns


def _mean(metric: Metric, mean: float | None, std: float | None) -> str:
    return text.number(metric, mean) + ("" if std is None else f" ± {text.number(metric, std)}")
