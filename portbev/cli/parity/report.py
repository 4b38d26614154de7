"""``portbev parity report``: runs of several devices on one page."""

from __future__ import annotations

from pathlib import Path

import typer


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("report")(report)


def report(
    runs: list[Path] = typer.Argument(..., metavar="RUN...", help="Run directories."),  # noqa: B008
    out: Path | None = typer.Option(None, "--out", help="Where to write; default: report/ in the first run."),  # noqa: B008
    published: list[str] = typer.Option(  # noqa: B008
        [], "--published", metavar="NAME|FILE", help="Published figures to show beside the runs; repeatable."
    ),
    baseline: str = typer.Option("", "--baseline", metavar="RUN", help="Compare with this run; default: the first."),
) -> None:
    """Compare runs: metrics, speed, memory, losses step by step, environment, configuration, kernel ledger."""
    from portbev.parity.assemble import report_on
    from portbev.parity.render.write import write_report
    from portbev.parity.runs import load_runs
    from portbev.parity.terminal import show

    loaded = load_runs(runs)
    document = report_on(loaded, baseline=baseline or None, published=published)
    written = write_report(document, loaded, out or runs[0] / "report")
    show(document, written)
