"""``portbev parity report``."""

from __future__ import annotations

from pathlib import Path

import typer


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("report")(report)


def report(
    runs: list[Path] = typer.Argument(..., metavar="RUN", help="Run directories, or folders of parity seeds."),  # noqa: B008
    out: Path | None = typer.Option(None, "--out", help="Where to write; default: report/ in the first run."),  # noqa: B008
    published: list[str] = typer.Option(  # noqa: B008
        [], "--published", metavar="NAME|FILE", help="Published figures to show beside the runs; repeatable."
    ),
    baseline: str = typer.Option("", "--baseline", metavar="RUN", help="Compare with this run; default: the first."),
    margin: list[str] = typer.Option(  # noqa: B008
        [],
        "--margin",
        metavar="METRIC=NUMBER",
        help="Largest difference that counts as none (5% for speed and memory; class=... for classes); repeatable.",
    ),
    spread: list[str] = typer.Option(  # noqa: B008
        [], "--spread", metavar="METRIC=NUMBER", help="Standard deviation over seeds, known from elsewhere; repeatable."
    ),
    alpha: float = typer.Option(0.05, "--alpha", help="Largest chance of a false verdict."),
    power: float = typer.Option(0.8, "--power", help="What the numbers of missing seeds are planned for."),
    looks: int = typer.Option(
        1, "--looks", help="How often the runs are judged in all: each time has its share of alpha."
    ),
    controls: list[Path] = typer.Option(  # noqa: B008
        [], "--controls", metavar="RUN", help="Control runs of the baseline, or a folder of them; repeatable."
    ),
    evidence: list[Path] = typer.Option(  # noqa: B008
        [], "--evidence", metavar="FILE", help="JSON of parity ops, dump, compare, bisect or of bench; repeatable."
    ),
    require: list[str] = typer.Option(  # noqa: B008
        [],
        "--require",
        metavar="WHAT",
        help="equivalent, within-rounding or METRIC=MARGIN; exit status 1 if not shown.",
    ),
) -> None:
    """Compare runs: equal within a margin or not, losses, speed, memory, environment, configuration, kernel ledger."""
    from portbev.parity.assemble import report_on
    from portbev.parity.options import read_judgement
    from portbev.parity.render.write import write_report
    from portbev.parity.runs import load_runs
    from portbev.parity.series import run_folders
    from portbev.parity.terminal import show

    loaded = load_runs(run_folders(runs))
    document = report_on(
        loaded,
        baseline=baseline or None,
        published=published,
        controls=load_runs(run_folders(controls)),
        evidence=evidence,
        judgement=read_judgement(margins=margin, spreads=spread, alpha=alpha, power=power, looks=looks),
        require=require,
    )
    written = write_report(document, loaded, out or runs[0] / "report")
    show(document, written)
    if document.gate is not None and not document.gate.passed:
        raise typer.Exit(1)
