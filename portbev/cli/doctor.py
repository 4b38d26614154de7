"""``portbev doctor``: what is wrong with this machine and this environment, and what an error message means."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from portbev.doctor.explain import Known
    from portbev.doctor.table import Row

_MOST = 32 << 20


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    examples = "portbev doctor --data-root /data/mine; portbev doctor --explain - < train.log"
    app.command(name, help=f"{help} Exit status 1: something stops training. Examples: {examples}")(doctor)


def doctor(
    data_root: str | None = typer.Option(None, "--data-root", help="Look at this folder of data as well."),
    out: str = typer.Option(".", "--out", help="Where runs are to be written."),
    compile_: bool = typer.Option(
        False, "--compile", help="Look at compilers too: for code around portbev that compiles extensions (mmcv)."
    ),
    explain: str | None = typer.Option(
        None,
        "--explain",
        metavar="TEXT",
        help="Say what this error message means; a file, or - for standard input: a log.",
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Look at drivers, libraries, packages, limits and disks, and say what will bite, why, and the cure.

    Exit status 1: something stops training; with --explain: no known message.
    """
    status = _explain(explain, as_json=as_json) if explain is not None else _look(data_root, out, compile_, as_json)
    _say_failures()
    raise typer.Exit(status)


def _look(data_root: str | None, out: str, compiles: bool, as_json: bool) -> int:
    from portbev.doctor.checkups import checkups
    from portbev.doctor.findings import examine
    from portbev.doctor.machine import here

    report = examine(here(data_root=data_root, out=out, compiles=compiles), checkups())
    if as_json:
        _print_json(report.as_dict())
    else:
        from portbev.doctor.page import show

        show(report, _console())
    return int(report.stops)


def _explain(text: str, *, as_json: bool) -> int:
    from portbev.doctor.checkups import all_rows
    from portbev.doctor.explain import explain, nearest

    text, rows = _read(text), all_rows()
    known = explain(text, rows)
    near = [] if known else nearest(text, rows)
    if as_json:
        _print_json({"schema": "portbev.explained/1", "known": _known(known), "near": [_row(row) for row in near]})
    else:
        from portbev.doctor.page import show_known, show_near

        show_known(known, _console()) if known else show_near(near, _console())
    return 0 if known else 1


def _read(text: str) -> str:
    """The text itself, that of the file it names, or standard input; of a long one the end.

    Raises:
        PortbevError: it is empty, or the file cannot be read.
    """
    from portbev.errors import PortbevError

    path = Path(text)
    try:
        if text == "-":
            text = sys.stdin.buffer.read()[-_MOST:].decode("utf-8", "replace")
        elif len(text) < 4096 and "\n" not in text and path.is_file():
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _MOST))
                text = file.read().decode("utf-8", "replace")
    except OSError as error:
        raise PortbevError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not text.strip():
        cure = 'Give the message, portbev doctor --explain "TEXT", or a log, portbev doctor --explain - < train.log'
        raise PortbevError("there is no text", where="--explain", cure=cure)
    return text


def _known(known: Sequence[Known]) -> list[dict[str, Any]]:
    return [{**_row(one.row), "line": one.number, "text": one.line} for one in known]


def _row(row: Row) -> dict[str, Any]:
    return {"id": row.id, "what": row.what, "why": row.why, "cure": row.cure}


def _print_json(document: Any) -> None:
    import json

    print(json.dumps(document, indent=1))


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _say_failures() -> None:
    """Plugins that could not be asked."""
    from portbev.plugins import plugins

    for failure in plugins().failures:
        print(f"portbev: {failure}", file=sys.stderr)
