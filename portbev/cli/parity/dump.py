"""``portbev parity dump``: a step of a configuration, recorded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from portbev.cli.options import DATA_ROOT

if TYPE_CHECKING:
    from portbev.parity.dumps.sketch import Level
    from portbev.recording.step import Kind


def add(group: typer.Typer) -> None:
    """Add the command to ``group``."""
    group.command("dump")(dump)


def dump(
    what: str = typer.Argument(
        ..., metavar="CONFIG|RUN", help="A configuration (its first step), or a run (the step after its checkpoint)."
    ),
    out: Path = typer.Option(..., "--out", metavar="DIR", help="The dump's folder; must not be there."),  # noqa: B008
    backend: str = typer.Option("auto", "--backend", help="auto, cpu, cuda, rocm, npu, or a plugin's."),
    emulate: bool = typer.Option(False, "--emulate", help="Use the emulated device of that backend."),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    step: str = typer.Option("train", "--step", help="train or inference."),
    level: str = typer.Option("sketch", "--level", help="sketch, or hashes: equal or not, and nothing more."),
    tensors: list[str] = typer.Option(  # noqa: B008
        [], "--tensors", metavar="PATTERN", help="Modules whose tensors are kept whole: 'neck.*'; repeatable."
    ),
    bands: bool = typer.Option(True, help="Measure what rounding does: take the step again, moved by one ULP."),
    init: Path | None = typer.Option(None, "--init", metavar="CHECKPOINT", help="Take these weights."),  # noqa: B008
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    kernel: list[str] = typer.Option([], "--kernel", metavar="OP=PROVIDER", help="Who serves an operator; repeatable."),  # noqa: B008
) -> None:
    """Record one step: sketches of what every module and operator gives, gradients, draws, update."""
    from portbev.cli.options import kernel_settings
    from portbev.launcher import launch
    from portbev.parity.dumps.reading import read_header
    from portbev.recording.dump import Plan
    from portbev.recording.dump import dump as record
    from portbev.recording.step import read_source

    _one_of("--step", step, ("train", "inference"))
    _one_of("--level", level, ("sketch", "hashes"))
    main = launch().rank == 0
    source = read_source(what, [*set_, *kernel_settings(kernel)])
    plan = Plan(cast("Kind", step), cast("Level", level), tuple(tensors), bands)
    folder = record(
        source,
        out,
        plan,
        backend=backend,
        emulate=emulate,
        data_root=data_root,
        init=init,
        say=print if main else _silent,
    )
    if main:
        header = read_header(folder)
        size = sum(facts.bytes for facts in header.files.values()) / 1e6
        records = sum(rank.records for rank in header.ranks)
        print(f"dump of {header.run.name} on {header.label}: {records} records, {size:.1f} MB")
        if header.ended:
            print(f"the step ended early, without bands: {header.ended}")
        print(f"the step took {header.seconds:.1f} s; bands {sum(rerun.seconds for rerun in header.reruns):.1f} s more")
        print(f"written: {folder}")


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    from portbev.errors import PortbevError

    if value not in choices:
        raise PortbevError(f"there is no {value!r}", where=option, cure=" or ".join(choices))


def _silent(_: Any) -> None:
    """Another process says it."""
