"""``portbev publish``: a file of weights alone, for others to take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

if TYPE_CHECKING:
    from portbev.runs.publish import Format


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    example = "Example: portbev publish runs/mine --out weights/mine"
    app.command(name, help=help, epilog=example)(publish)


def publish(
    source: Path = typer.Argument(..., metavar="RUN|CHECKPOINT|FILE", help="Whose weights."),  # noqa: B008
    out: Path | None = typer.Option(  # noqa: B008
        None, "--out", metavar="NAME", help="Without the hash, or a folder; default: beside the source."
    ),
    form: str = typer.Option("safetensors", "--format", help="safetensors, or pth as mmdet and torch read it."),
    ema: bool = typer.Option(True, "--ema/--no-ema", help="The averaged weights, where there are some."),
    checkpoint: str = typer.Option("latest", "--checkpoint", help="Of a run: latest, best, or a step."),
) -> None:
    """Write the weights of a checkpoint, without optimizer and state, with the hash in the file's name."""
    from portbev import lists, terminal
    from portbev.errors import PortbevError
    from portbev.runs.publish import publish as write

    if form not in ("safetensors", "pth"):
        raise PortbevError(f"there is no format {form!r}", where="--format", cure="safetensors or pth")
    done = write(source, out, form=cast("Format", form), use_ema=ema, which=checkpoint)
    size = done.path.stat().st_size / 2**20
    averaged = " (averaged)" if done.kind == "ema" else ""
    console = terminal.open_console()
    terminal.say(console, f"written: {done.path}: {done.tensors} tensors{averaged}, {size:.1f} MiB")
    if done.left_out:
        terminal.say(console, f"left out: {lists.named(done.left_out)}")
