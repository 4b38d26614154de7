"""``portbev bench``: the speed of operators and of steps on this device, and their limits on paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from portbev.cli.bar import Bar
from portbev.cli.listing import Listing

if TYPE_CHECKING:
    from portbev.bench.document import Document
    from portbev.bench.timing import Clock

BACKEND = typer.Option("auto", "--backend", help="auto, cpu, cuda, rocm, npu, or a plugin's.")
EMULATE = typer.Option(False, "--emulate", help="Use the emulated device of that backend; its figures mean nothing.")
QUICK = typer.Option(False, "--quick", help="Configurations of a laptop's size, and few samples.")
OUT = typer.Option(None, "--out", metavar="FOLDER", help="Where JSON and table go; default: runs/bench-BACKEND.")
SET = typer.Option(
    [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a value of every configuration; repeatable."
)
CONFIGS = typer.Argument(None, metavar="CONFIG", help="Default: those that the model families offer.")


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the group of commands to ``app``."""
    group = typer.Typer(cls=Listing, help=help, no_args_is_help=True)
    group.command("ops")(ops)
    group.command("step")(step)
    group.command("roofline")(roofline)
    app.add_typer(group, name=name, help=help)


def ops(
    configs: list[str] = CONFIGS,
    backend: str = BACKEND,
    emulate: bool = EMULATE,
    only: list[str] = typer.Option([], "--only", metavar="OPERATOR", help="This operator; repeatable."),  # noqa: B008
    dtype: list[str] = typer.Option(  # noqa: B008
        ["float32"], "--dtype", metavar="DTYPE", help="float32, float16 or bfloat16; repeatable."
    ),
    precision: str = typer.Option("highest", "--precision", help="Of float32 products: highest or fast."),
    threads: int = typer.Option(0, "--threads", min=0, help="torch's CPU threads; default: as torch takes them."),
    clock: str = typer.Option("wall", "--clock", help="wall, or cpu: this process's CPU time, for a busy host."),
    quick: bool = QUICK,
    set_: list[str] = SET,
    out: Path | None = OUT,
) -> None:
    """Time each operator, forward and backward, by every provider and peer, against the device's limits."""
    from portbev.bench.ops import Plan, failed, run_ops

    plan = Plan(
        tuple(configs or ()), tuple(set_), tuple(only), tuple(dict.fromkeys(dtype)), quick, cast("Clock", clock)
    )
    plan.check()
    device, folder = _ready(backend, emulate, out, precision, threads)
    with Bar("operators") as progress:
        document = run_ops(device, plan, folder, progress.say, progress.tick)
    _end(document)
    broken = failed(document.content["rows"])
    for line in broken:
        print(f"failed: {line}")
    if broken:
        raise typer.Exit(1)


def step(
    configs: list[str] = CONFIGS,
    backend: str = BACKEND,
    emulate: bool = EMULATE,
    part: list[str] = typer.Option(["train", "eval"], "--part", help="train or eval; repeatable."),  # noqa: B008
    quick: bool = QUICK,
    set_: list[str] = SET,
    out: Path | None = OUT,
) -> None:
    """Time one training and one inference step of configurations, on noise, with peak memory."""
    from portbev.bench.step import run_steps
    from portbev.errors import PortbevError

    for name in part:
        if name not in ("train", "eval"):
            raise PortbevError(f"there is no part {name!r}", where="--part", cure="train or eval")
    device, folder = _ready(backend, emulate, out)
    with Bar("steps") as progress:
        document = run_steps(device, configs or [], set_, part, folder, progress.say, quick=quick)  # type: ignore[arg-type]
    _end(document)
    if any("failed" in row for row in document.content["rows"]):
        raise typer.Exit(1)


def roofline(
    configs: list[str] = CONFIGS,
    set_: list[str] = SET,
    out: Path | None = typer.Option(None, "--out", metavar="FOLDER", help="Where the table and JSON go."),  # noqa: B008
) -> None:
    """Bytes and FLOPs of the operators, and the least time that they take on some devices: on paper, nothing is run."""
    from portbev.bench.roofline import draw_roofline

    document = draw_roofline(configs or [], set_, out)
    _show(document)


def _ready(backend: str, emulate: bool, out: Path | None, precision: str = "highest", threads: int = 0) -> Any:
    """The backend, activated, and the folder, writable."""
    from typing import get_args

    import torch

    from portbev.errors import PortbevError
    from portbev.files import prepare_folder
    from portbev.launcher import launch
    from portbev.precision import Precision
    from portbev.runtime import activate

    if launch().size > 1:
        raise PortbevError("one process measures one device", where="torchrun", cure="Start it without torchrun")
    if precision not in get_args(Precision):
        cure = f"One of {', '.join(get_args(Precision))}"
        raise PortbevError(f"there is no precision {precision!r}", where="--precision", cure=cure)
    if threads:
        torch.set_num_threads(threads)
    device = activate(backend, emulate=emulate, precision=cast(Precision, precision), deterministic="off")
    folder = out or Path("runs") / f"bench-{device.name}"
    prepare_folder(folder)
    return device, folder


_LEAST = (
    *("J", "MB more", "configuration: calls", "GFLOP", "MB", "of the limit", "peak memory, GiB", "samples", "shapes"),
    *("others: ratio", "s", "dtype"),
)
"""Columns of the tables that a narrow terminal does without, the least important first."""


def _show(document: Document) -> None:
    """Show the table, and say where it is."""
    from portbev import terminal

    console = terminal.open_console()
    terminal.say_markdown(console, document.markdown(), drop=_LEAST)
    for path in document.files:
        terminal.say(console, f"written: {path}")


def _end(document: Document) -> None:
    """Show the table, say where it is, and end with 130 after an interruption."""
    _show(document)
    if document.content["status"] == "interrupted":
        print("interrupted: what was measured is kept")
        raise typer.Exit(130)
