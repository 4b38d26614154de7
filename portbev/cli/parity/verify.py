"""``portbev parity verify``."""

from __future__ import annotations

from pathlib import Path

import typer


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("verify")(verify)


def verify(
    report: Path = typer.Argument(..., metavar="REPORT", help="report.json, or the folder that holds it."),  # noqa: B008
    runs: list[Path] = typer.Option(  # noqa: B008
        [], "--runs", metavar="DIR", help="Where its runs are now: run directories or folders of them; repeatable."
    ),
    controls: list[Path] = typer.Option([], "--controls", metavar="RUN", help="Its control runs; repeatable."),  # noqa: B008
) -> None:
    """Check a report against its hash and its runs, and judge these again. Exit status 2 if anything does not fit."""
    from portbev import terminal
    from portbev.parity.verify import verify as check

    console = terminal.open_console()
    for line in check(report, runs, controls):
        terminal.say(console, line)
