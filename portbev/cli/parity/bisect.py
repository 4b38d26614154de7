"""``portbev parity bisect``: from two dumps, or a dump and a device at hand, to a named cause."""

from __future__ import annotations

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
    _tell(verdict, first, second, why_not)
    if json_ is not None:
        write_json(json_, document(verdict, first, second))
        print(f"written: {json_}")
    if verdict.kind != "none":
        raise typer.Exit(1)


def _tell(verdict: Verdict, a: Dump, b: Dump, why_not: str) -> None:
    """The verdict, for people."""
    print(f"a: {a.label}, {a.header.label}; b: {b.label}, {b.header.label}")
    print(f"cause: {verdict.headline()}")
    if verdict.side:
        print(f"wrong side: {verdict.side}")
    for line in verdict.evidence:
        print(f"  - {line}")
    if verdict.providers:
        print("  providers of the operator, by their error from float64:")
    for one in verdict.providers:
        error = one.note if one.error is None else f"{one.error:.1e}"
        print(f"    {one.name} on the {one.side}: {error}")
    for line in verdict.others:
        print(f"  also: {line}")
    if verdict.live:
        print(f"computed again on {verdict.live}")
    elif why_not:
        print(f"from the files alone ({why_not})")
