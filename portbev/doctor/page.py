"""A report and an explanation on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from portbev.doctor.explain import Known
from portbev.doctor.findings import Report
from portbev.doctor.table import Row, Severity

_STYLES = {Severity.STOPS: "red", Severity.BITES: "yellow", Severity.NOTE: "cyan"}
_CURE = "      -> "


def show(report: Report, console: Console) -> None:
    """The facts, then the findings, worst first. A cure is never broken into lines: it can be copied."""
    console.print(_lines(report.facts, "dim"))
    for severity in Severity:
        found = [finding for finding in report.findings if finding.severity is severity]
        if not found:
            continue
        console.print()
        console.print(Text(severity.value, style=f"bold {_STYLES[severity]}"))
        for finding in found:
            console.print(_indented(Text.assemble((finding.what, "bold"), (f"  {finding.id}", "dim")), 2))
            said = {"seen": finding.where, "bites": finding.says, "why": finding.why}
            console.print(_indented(_lines(said, "dim"), 4))
            _show_cure(finding.cure, console)
    if not report.findings:
        console.print()
        console.print("nothing found", style="green")
    for failed in report.failed:
        console.print(Text(f"a check failed itself: {failed}", style="yellow"))


def show_known(known: Sequence[Known], console: Console) -> None:
    """What the messages mean, in the order of the text."""
    for number, one in enumerate(known):
        if number:
            console.print()
        console.print(Text(one.row.what, style="bold"))
        line = one.line if len(one.line) <= 300 else f"{one.line[:297]}..."
        console.print(_indented(_lines({f"line {one.number}": line, "why": one.row.why}, "dim"), 4))
        _show_cure(one.row.cure, console)


def show_near(rows: Iterable[Row], console: Console) -> None:
    """What may have been meant."""
    rows = list(rows)
    console.print("no known message in this text" + ("; did you mean" if rows else ""))
    for row in rows:
        says = row.says[0] if row.says else ""
        console.print(_indented(Text.assemble((says, "italic"), f"  {row.what}"), 2))
        _show_cure(row.cure, console)
    if not rows:
        console.print("portbev doctor, without --explain, looks at this machine.")


def _lines(said: Mapping[str, str], style: str) -> RenderableType:
    """A name and a text per line; the text keeps its column when it is wrapped."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in said.items():
        if text:
            table.add_row(Text(name), Text(text))
    return Group(table) if table.row_count else Text("")


def _indented(what: RenderableType, columns: int) -> Padding:
    return Padding(what, (0, 0, 0, columns))


def _show_cure(cure: str, console: Console) -> None:
    for line in cure.splitlines():
        console.print(Text(_CURE).append(line, style="bold green"), soft_wrap=True)
