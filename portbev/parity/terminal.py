"""The report's table and verdicts on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from portbev.parity.document import ParityReport
from portbev.parity.render import text


def show(report: ParityReport, written: Mapping[str, Path], console: Console | None = None) -> None:
    """Print a table per group, the verdicts, the warnings, and where the files are."""
    console = console or Console(highlight=False)
    for group in report.groups:
        console.print(f"[bold]{escape(group.title)}[/bold]", soft_wrap=True)
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("")
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
        console.print(table)
        console.print()
    for line in report.summary:
        console.print(escape(line), soft_wrap=True)
    for line in report.warnings:
        console.print(f"[yellow]note:[/yellow] {escape(line)}", soft_wrap=True)
    for kind in ("html", "markdown", "json", "csv"):
        console.print(f"{kind:>9}  {escape(str(written[kind]))}", soft_wrap=True)
