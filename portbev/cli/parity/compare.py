"""``portbev parity compare``: two dumps, from their files alone."""

from __future__ import annotations

from pathlib import Path

import typer


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("compare")(compare)


def compare(
    a: Path = typer.Argument(..., metavar="A", help="A dump."),  # noqa: B008
    b: Path = typer.Argument(..., metavar="B", help="A dump of the same step, on another device."),  # noqa: B008
    json_: bool = typer.Option(False, "--json", help="Print the comparison as JSON."),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="Write the JSON to a file, too."),  # noqa: B008
    every: bool = typer.Option(False, "--all", help="Every entry of a list, not the first ten."),
) -> None:
    """Say whether two dumps differ by more than rounding, and the first operator that is the cause.

    Exit status 1: they differ by more than rounding.
    """
    import json

    from portbev import terminal
    from portbev.files import write_json
    from portbev.lists import MOST
    from portbev.parity.dumps.compare import compare
    from portbev.parity.dumps.reading import load_dump
    from portbev.parity.dumps.told import lines

    found = compare(load_dump(a), load_dump(b))
    if out is not None:
        write_json(out, found.as_json())
    if json_:
        print(json.dumps(found.as_json(), indent=1, allow_nan=False))
    else:
        console = terminal.open_console()
        for line in lines(found, None if every else MOST):
            terminal.say(console, line)
    if found.verdict == "different":
        raise typer.Exit(1)
