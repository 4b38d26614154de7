"""The report's table and verdicts on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbev.evaluate.benchmark import Metric
from portbev.parity.document import Group, ParityReport
from portbev.parity.render import text


def show(report: ParityReport, written: Mapping[str, Path], console: Console | None = None) -> None:
    """Print a table per group, the verdicts, the warnings, and where the files are."""
    console = console or Console(highlight=False)
    for group in report.groups:
        console.print(f"[bold]{escape(group.title)}[/bold]", soft_wrap=True)
        console.print(_of_runs(report, group) if len(group.runs) == len(group.sides) else _of_sides(group))
        console.print()
    for line in report.summary:
        console.print(escape(line), soft_wrap=True)
    for group in report.groups:
        for one in group.comparisons:
            if one.headline:
                console.print(f"  {escape(f'{one.side}: {one.says}')}", soft_wrap=True)
        if group.reference is not None:
            console.print(f"[dim]original:[/dim] {escape(group.reference.says)}", soft_wrap=True)
    for verdicts in report.published_verdicts:
        console.print(f"[dim]published:[/dim] {escape(verdicts.title)}", soft_wrap=True)
        for line in verdicts.says:
            console.print(f"  {escape(line)}", soft_wrap=True)
    for line in report.warnings:
        console.print(f"[yellow]note:[/yellow] {escape(line)}", soft_wrap=True)
    if report.gate is not None:
        required = ", ".join(report.gate.required)
        passed = "[green]passed[/green]" if report.gate.passed else "[red]not passed[/red]"
        console.print(f"required: {escape(required)}: {passed}", soft_wrap=True)
        for reason in report.gate.reasons:
            console.print(f"  {escape(reason)}", soft_wrap=True)
    for kind in ("html", "markdown", "json", "csv"):
        console.print(f"{kind:>9}  {escape(str(written[kind]))}", soft_wrap=True)


def _table() -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    return table


def _of_runs(report: ParityReport, group: Group) -> Table:
    """A column for each run: there is one of each side."""
    table = _table()
    for label in group.runs:
        table.add_column(escape(label), justify="right")
    for metric in group.metrics:
        row = []
        for label in group.runs:
            run = report.run(label)
            base = report.run(group.baseline).values[metric.key]
            change = text.difference(metric, run.differences.get(metric.key), base)
            row.append(text.number(metric, run.values[metric.key]) + (f"  {change}" if change else ""))
        table.add_row(metric.name, *row)
    return table


def _of_sides(group: Group) -> Table:
    """A column for each side: mean and standard deviation over its seeds, and the verdict."""
    table = _table()
    for side in group.sides:
        table.add_column(
            escape(f"{side.label} ({len(side.counted)} seed{'s' if len(side.counted) != 1 else ''})"), justify="right"
        )
    for metric in group.metrics:
        found = [one for one in group.comparisons if one.kind != "class" and one.key == metric.key]
        if found:
            base = _mean(metric, found[0].baseline_mean, found[0].baseline_std)
            mine = [f"{_mean(metric, one.mean, one.std)}  {one.verdict}" for one in found]
            table.add_row(metric.name, base, *mine)
    return table


def _mean(metric: Metric, mean: float | None, std: float | None) -> str:
    return text.number(metric, mean) + ("" if std is None else f" ± {text.number(metric, std)}")
