"""``portbev parity ops``."""

from __future__ import annotations

from pathlib import Path

import typer

from portbev.cli.bar import Bar


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("ops")(ops)


def ops(
    configs: list[str] = typer.Argument(  # noqa: B008
        None, metavar="CONFIG", help="Whose calls are judged; default: those that the model families offer."
    ),
    backend: str = typer.Option("auto", "--backend", help="auto, cpu, cuda, rocm, npu, or a plugin's."),
    emulate: bool = typer.Option(False, "--emulate", help="Use the emulated device of that backend."),
    only: list[str] = typer.Option([], "--op", metavar="NAME", help="This operator; repeatable."),  # noqa: B008
    by: list[str] = typer.Option([], "--by", metavar="PROVIDER", help="This provider; repeatable."),  # noqa: B008
    dtype: list[str] = typer.Option(  # noqa: B008
        ["float32", "float16", "bfloat16"], "--dtype", metavar="DTYPE", help="float64 too; repeatable."
    ),
    quick: bool = typer.Option(False, "--quick", help="Calls of configurations of a laptop's size alone."),
    json: Path | None = typer.Option(None, "--json", metavar="FILE", help="Write every figure."),  # noqa: B008
    out: Path | None = typer.Option(  # noqa: B008
        None, "--out", metavar="FOLDER", help="Write ops.json and ops.txt, which parity report links in."
    ),
) -> None:
    """Judge every operator that the models call, forward and each gradient, against its float64 definition.

    The same call continues an interrupted one. Exit status 1: an error is a fault.
    """
    from portbev import terminal
    from portbev.errors import PortbevError
    from portbev.files import prepare_folder, write_text
    from portbev.launcher import launch
    from portbev.opscheck.document import Document, head
    from portbev.opscheck.running import Plan, faults, run
    from portbev.opscheck.table import WIDTH, summary, table
    from portbev.runtime import activate

    if launch().size > 1:
        raise PortbevError("one process judges one device", where="torchrun", cure="Start it without torchrun")
    if json is not None and out is not None:
        raise PortbevError("both name a place for the figures", where="--json, --out", cure="Give one of them")
    plan = Plan(tuple(configs or ()), tuple(only), tuple(by), tuple(dict.fromkeys(dtype)), quick)
    path = json if out is None else out / "ops.json"
    if path is not None:
        prepare_folder(path.parent)
    device = activate(backend, emulate=emulate)
    document = Document(head(device, list(plan.dtypes), quick=quick), path)
    document.resume()
    with Bar("tracing the models", every=200) as progress:
        if document.resumed:
            progress.say(f"goes on with {path}: {document.resumed} rows are there")
        run(device, lambda: activate(device), plan, document, progress.tick)
    console = terminal.open_console()
    width = console.width if console.is_terminal else WIDTH
    for line in (table(document.content, width) + summary(document.content, width)).splitlines():
        terminal.say(console, line)
    if path is not None:
        if out is not None:
            write_text(out / "ops.txt", table(document.content) + summary(document.content))
        print(f"written: {path}")
    if document.content["status"] == "interrupted":
        print("interrupted: what was judged is kept; the same command goes on" if path else "interrupted")
        raise typer.Exit(130)
    if faults(document.content["rows"]):
        raise typer.Exit(1)
