"""``portbev parity bisect``: from two dumps, or a dump and a device at hand, to a named cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portbev.cli.options import DATA_ROOT

if TYPE_CHECKING:
    from portbev.parity.bisect.verdict import Verdict
    from portbev.parity.dumps.reading import Dump


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("bisect")(bisect)


def bisect(
    a: Path = typer.Argument(..., metavar="A", help="A dump, of the device that is trusted."),  # noqa: B008
    b: Path | None = typer.Argument(None, metavar="B", help="A dump of the same step on the other device."),  # noqa: B008
    backend: str = typer.Option("", "--backend", help="b's device, at hand; default: that of b, if it is here."),
    emulate: bool = typer.Option(False, "--emulate", help="Use the emulated device of that backend."),
    files: bool = typer.Option(False, "--files", help="Compute nothing again: the files alone."),
    source: str = typer.Option(
        "", "--source", metavar="CONFIG|RUN", help="What was dumped; needed where that was a run's checkpoint."
    ),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    out: Path | None = typer.Option(None, "--out", metavar="DIR", help="Without B: where its dump goes."),  # noqa: B008
    json_: Path | None = typer.Option(None, "--json", metavar="FILE", help="Write the verdict as JSON."),  # noqa: B008
    every: bool = typer.Option(False, "--all", help="Every entry of a list, not the first ten."),
) -> None:
    """Name the module, operator, provider and kind of what makes two devices differ, with the evidence.

    With B's device at hand what is suspected is computed again: by every provider, and in float64. Exit status 1: there
    is a cause.
    """
    from portbev.files import write_json
    from portbev.parity.bisect.verdict import document
    from portbev.parity.dumps.reading import load_dump
    from portbev.recording.bisect import bisect as found_by
    from portbev.recording.bisect import counterpart, live_backend
    from portbev.recording.step import read_source

    first = load_dump(a)
    what = read_source(source) if source else None
    if b is None:
        b = counterpart(first, backend, emulate=emulate, source=what, data_root=data_root, out=out, say=print)
    second = load_dump(b)
    chosen, why_not = (None, "asked for by --files") if files else live_backend(second, backend, emulate=emulate)
    verdict = found_by(
        first,
        second,
        backend=chosen,
        emulate=emulate or second.header.run.backend.emulated,
        source=what,
        data_root=data_root,
        say=print,
    )
    _tell(verdict, first, second, why_not, every=every)
    if json_ is not None:
        write_json(json_, document(verdict, first, second))
        print(f"written: {json_}")
    if verdict.kind != "none":
        raise typer.Exit(1)


def _tell(verdict: Verdict, a: Dump, b: Dump, why_not: str, *, every: bool) -> None:
    """The verdict, for people."""
    from portbev import lists, terminal

    console, most = terminal.open_console(), None if every else lists.MOST

    def say(lines: Iterable[str]) -> None:
        for line in lines:
            terminal.say(console, line)

    def say_first(entries: Sequence[str], indent: str) -> None:
        shown, more = lists.shorten(entries, most)
        say([*shown, *([f"{indent}and {more} more (--all shows them)"] if more else [])])

    say([f"a: {a.label}, {a.header.label}; b: {b.label}, {b.header.label}", f"cause: {verdict.headline()}"])
    if verdict.side:
        say([f"wrong side: {verdict.side}"])
    say_first([f"  - {line}" for line in verdict.evidence], "  ")
    if verdict.providers:
        say(["  providers of the operator, by their error from float64:"])
    for one in verdict.providers:
        error = one.note if one.error is None else f"{one.error:.1e}"
        say([f"    {one.name} on the {one.side}: {error}"])
    say_first([f"  also: {line}" for line in verdict.others], "  ")
    if verdict.live:
        say([f"computed again on {verdict.live}"])
    elif why_not:
        say([f"from the files alone ({why_not})"])
