"""``portbev parity curves``."""

from __future__ import annotations

from pathlib import Path

import typer


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("curves")(curves)


def curves(
    baseline: Path = typer.Argument(..., metavar="A", help="A run: the baseline."),  # noqa: B008
    run: Path = typer.Argument(..., metavar="B", help="A run of the same configuration and seed on another device."),  # noqa: B008
    controls: list[Path] = typer.Option(  # noqa: B008
        [], "--controls", metavar="RUN", help="Control runs of A, or a folder of them; repeatable."
    ),
    make: int = typer.Option(0, "--make", metavar="N", min=0, help="Train N control runs of A into --out first."),
    steps: int | None = typer.Option(None, "--steps", min=1, help="Steps of the control runs; default: all of A's."),
    out: Path | None = typer.Option(None, "--out", metavar="DIR", help="Where curves.json and the control runs go."),  # noqa: B008
) -> None:
    """Say whether B's losses leave A's by more than rounding: A again, its first weights moved by one unit in the last
    place, is the measure. Exit status 1 if they do."""
    from portbev import terminal
    from portbev.errors import PortbevError
    from portbev.files import write_json
    from portbev.parity.curve_report import report_on_curves
    from portbev.parity.runs import load_runs
    from portbev.parity.series import run_folders

    console, folders = terminal.open_console(), run_folders(controls)
    if make:
        if out is None:
            raise PortbevError("the control runs need a place", where="--make", cure="Name a folder: --out DIR")
        from portbev.recording.controls import make_controls
        from portbev.runs import load_run

        folders += make_controls(load_run(baseline), make, out, lambda line: terminal.say(console, line), steps=steps)
    first, second, *others = load_runs([baseline, run, *folders])
    report = report_on_curves(first, second, others)
    terminal.say(console, report.says)
    for term in report.curves.band.terms if report.curves.band else []:
        largest = "not finite" if term.largest is None else f"{term.largest:.3g} of the limit"
        where = "inside" if term.first_step is None else f"outside from step {term.first_step} on"
        terminal.say(console, f"  {term.term:<16} {where}, at most {largest}")
    if out is not None:
        write_json(out / "curves.json", report.model_dump(mode="json", by_alias=True))
        print(f"written: {out / 'curves.json'}")
    if report.verdict == "outside":
        raise typer.Exit(1)
