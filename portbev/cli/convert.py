"""``portbev convert``: configurations and weights of other projects made into this project's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portbev.cli.listing import Listing

if TYPE_CHECKING:
    from portbev.convert.weights import Kind

_OVERWRITE = typer.Option(False, "--overwrite", help="Write over a file that is there.")


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the group of commands to ``app``."""
    group = typer.Typer(cls=Listing, no_args_is_help=True, help=help)
    group.command("config", epilog="Example: portbev convert config theirs.py -o mine.yaml")(config)
    kinds: dict[Kind, tuple[str, str]] = {
        "backbone": (
            "Take the ResNet out of a detector's checkpoint, as a file with torchvision's names.",
            "fcos3d.pth -o r101.safetensors",
        ),
        "detectron": (
            "Give the ResNet of Detectron or detectron2 (.pkl, .pth) torchvision's names.",
            "R-50.pkl -o r50.safetensors",
        ),
        "regnet": (
            "Give a RegNet of pycls the names of mmdetection's RegNet.",
            "RegNetX-400MF_dds_8gpu.pyth -o regnetx_400mf.pth",
        ),
    }
    for kind, (said, example) in kinds.items():
        epilog = f"Example: portbev convert {kind} {example}"
        group.command(kind, help=said, epilog=epilog)(_weights_command(kind))
    app.add_typer(group, name=name, help=help)


def config(
    source: Path = typer.Argument(..., metavar="FILE.py", help="Of the original."),  # noqa: B008
    out: Path | None = typer.Option(  # noqa: B008
        None, "--out", "-o", metavar="OUT.yaml", help="Default: the terminal."
    ),
    devices: int = typer.Option(8, "--devices", min=1, help="On how many its learning rate is meant to be used."),
    name: str = typer.Option("", "--name", help="Of the run; default: the file's."),
    overwrite: bool = _OVERWRITE,
) -> None:
    """Say an original's Python configuration in YAML, and list what has no counterpart. The file is not executed."""
    from portbev import terminal
    from portbev.convert.config import account, convert_config
    from portbev.files import write_text

    if out is not None:
        _refuse_existing(out, overwrite)
    converted = convert_config(source, devices=devices, name=name)
    if out is None:
        print(converted.text, end="")
    else:
        write_text(out, converted.text)
    lines = account(converted)
    for line in lines:
        terminal.tell(line, stderr=out is None)
    if out is not None:
        terminal.tell(f"written: {out}. Look at it with: portbev config show {out}")


def _weights_command(kind: Kind) -> Callable[..., None]:
    def command(
        source: Path = typer.Argument(..., metavar="FILE", help="Whose weights."),  # noqa: B008
        out: Path = typer.Option(  # noqa: B008
            ..., "--out", "-o", metavar="OUT", help="OUT.safetensors, or OUT.pth as torch and mmdet read it."
        ),
        overwrite: bool = _OVERWRITE,
    ) -> None:
        from portbev import terminal
        from portbev.convert.weights import convert_weights, write_weights
        from portbev.errors import PortbevError

        if out.suffix not in (".safetensors", ".pth"):
            raise PortbevError("no name of a file of weights", where=str(out), cure="OUT.safetensors or OUT.pth")
        _refuse_existing(out, overwrite)
        found = convert_weights(kind, source)
        write_weights(found, out)
        terminal.tell(f"written: {out}: {found.name}, {len(found.weights)} tensors")
        for note in found.notes:
            terminal.tell(f"note: {note}")

    return command


def _refuse_existing(out: Path, overwrite: bool) -> None:
    from portbev.errors import PortbevError

    if out.is_dir():
        raise PortbevError("is a folder", where=str(out), cure="Name a file in it")
    if out.exists() and not overwrite:
        raise PortbevError("is there already", where=str(out), cure="Choose another name, or add --overwrite")
