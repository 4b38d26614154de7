"""``portbev logs``: curves, times and figures of training logs, of this project, mmdet and mmengine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portbev.cli.listing import Listing

if TYPE_CHECKING:
    import pandas as pd

    from portbev.logs.series import Log

LOGS = typer.Argument(..., metavar="LOG...", help="Run folders, mmdet's *.log.json, mmengine's scalars.json.")
MODE = typer.Option("", "--mode", help="train or eval; default: train for curves, eval for tables.")


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the group of commands to ``app``."""
    group = typer.Typer(cls=Listing, help=help, no_args_is_help=True)
    group.command("plot", epilog="Example: portbev logs plot runs/a runs/b --keys loss --out loss.png")(plot)
    group.command("time", epilog="Example: portbev logs time work_dirs/20260101.log.json")(time)
    group.command("table", epilog="Example: portbev logs table runs/a runs/b --keys mAP --keys NDS")(table)
    app.add_typer(group, name=name, help=help)


def plot(
    logs: list[Path] = LOGS,
    keys: list[str] = typer.Option(  # noqa: B008
        ["loss"], "--keys", metavar="KEY", help="A scalar, or several with commas; repeatable."
    ),
    legend: list[str] = typer.Option([], "--legend", metavar="TEXT", help="Of each curve, log by log; repeatable."),  # noqa: B008
    title: str = typer.Option("", "--title", help="Above the picture."),
    out: Path = typer.Option(Path("curves.png"), "--out", metavar="FILE", help="png, pdf or svg."),  # noqa: B008
    mode: str = MODE,
    interval: int = typer.Option(1, "--interval", min=1, help="Draw one step of so many."),
    epochs: bool = typer.Option(False, "--epochs", help="Epochs along the axis, not steps."),
) -> None:
    """Draw curves of one or several logs."""
    from portbev.logs.drawing import draw

    texts = draw(
        _read(logs),
        _split(keys),
        out,
        mode=_mode(mode, "train"),
        legend=legend,
        title=title,
        interval=interval,
        by_epoch=epochs,
    )
    print(f"written: {out} ({len(texts)} curve{'s' * (len(texts) > 1)})")


def time(
    logs: list[Path] = LOGS,
    outliers: bool = typer.Option(False, "--include-outliers", help="Count every step."),
) -> None:
    """Say how long steps took: mean and median, slowest and fastest epoch, waiting for data."""
    from portbev import terminal
    from portbev.logs.times import times_of

    console = terminal.open_console()
    for log in _read(logs):
        found = times_of(log, outliers=outliers)
        epochs = found.epochs.set_index("epoch")["mean"]
        terminal.say(console, f"{log.name}: {found.mean:.4f} s a step on average, median {found.median:.4f} s")
        print(f"  slowest epoch {found.slowest}, average {epochs[found.slowest]:.4f} s")
        print(f"  fastest epoch {found.fastest}, average {epochs[found.fastest]:.4f} s")
        print(f"  standard deviation of the epochs' averages {found.spread:.4f} s")
        if found.data is not None:
            print(f"  waited for data {found.data:.1%} of the time")
        if found.left_out:
            terminal.say(
                console,
                f"  left out, the first step of each epoch and outliers: {found.left_out} (--include-outliers)",
            )


def table(
    logs: list[Path] = LOGS,
    keys: list[str] = typer.Option([], "--keys", metavar="KEY", help="Scalars; default: all. Repeatable."),  # noqa: B008
    mode: str = MODE,
    last: bool = typer.Option(False, "--last", help="Of each log the last row only."),
    csv: Path | None = typer.Option(None, "--csv", metavar="FILE", help="Also as CSV, in full precision."),  # noqa: B008
) -> None:
    """Print evaluations (or, with --mode train, steps) of several logs as one table."""
    import pandas as pd

    from portbev.errors import PortbevError
    from portbev.files import write_text

    read, part = _read(logs), _mode(mode, "eval")
    frames = []
    for log in read:
        rows = log.part(part).sort_values("iter")
        columns = [log.find(key, part) for key in _split(keys)] or log.keys(part)
        short = dict(zip(columns, _split(keys), strict=False))
        rows = rows.tail(1) if last else rows
        frames.append(rows[["iter", "epoch", *columns]].rename(columns=short).assign(log=log.name))
    made = pd.concat([frame for frame in frames if not frame.empty] or frames[:1])
    if made.empty:
        other = "train" if part == "eval" else "eval"
        raise PortbevError(f"nothing of {part} is in these logs", where=str(logs[0]), cure=f"Add --mode {other}")
    made = made[["log", *(column for column in made.columns if column != "log")]]
    _print(made)
    if csv is not None:
        write_text(csv, made.to_csv(index=False))
        print(f"written: {csv}")


def _print(made: pd.DataFrame) -> None:
    from rich.table import Table

    from portbev.terminal import fitting, open_console, print_whole, say

    console, names = open_console(), list(made.columns)

    def shape(columns: Sequence[int]) -> Table:
        found = Table(box=None, pad_edge=False)
        for column in columns:
            found.add_column(str(names[column]), justify="right" if column else "left", no_wrap=True)
        for row in made.itertuples(index=False):
            found.add_row(*(_cell(row[column], names[column]) for column in columns))
        return found

    fitted, gone = fitting(console, shape, len(names), range(len(names) - 1, 2, -1))
    print_whole(console, fitted)
    if gone:
        say(console, f"left out for width: {', '.join(str(names[column]) for column in sorted(gone))} (--keys, --csv)")


def _cell(value: object, name: str) -> str:
    if not isinstance(value, float | int):
        return str(value)
    return f"{value:.0f}" if name == "iter" else f"{value:.4g}"


def _read(paths: Iterable[Path]) -> list[Log]:
    """The logs, told apart by their folders where their names are equal."""
    import dataclasses

    from portbev.logs.reading import read_log

    paths = list(paths)
    logs = [read_log(path) for path in paths]
    names = [log.name for log in logs]
    return [
        dataclasses.replace(log, name=str(path)) if names.count(log.name) > 1 else log
        for log, path in zip(logs, paths, strict=True)
    ]


def _split(keys: Iterable[str]) -> list[str]:
    """Also of ``a,b``."""
    return [key for text in keys for key in text.split(",") if key]


def _mode(given: str, default: str) -> str:
    from portbev.errors import PortbevError

    mode = {"val": "eval", "": default}.get(given, given)
    if mode not in ("train", "eval"):
        raise PortbevError(f"there is no mode {given!r}", where="--mode", cure="train or eval")
    return mode
