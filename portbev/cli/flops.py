"""``portbev flops``: what a model computes, moves and holds, module by module, without running it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from portbev.bench.complexity import Amount, Complexity
    from portbev.bench.models import Part

HEADERS = ("module", "GFLOP", "share", "M parameters", "M activations", "MB", "FLOP/byte")
LEAST_IMPORTANT = (4, 5, 2, 6, 3)
"""Columns that go first where the terminal is narrow."""


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help, epilog="Example: portbev flops mine.yaml --depth 2")(flops)


def flops(
    config: str = typer.Argument(..., metavar="CONFIG", help="A shipped configuration's name, or a file."),
    part: str = typer.Option("eval", "--part", help="eval: forward; train: a training step's forward and backward."),
    depth: int = typer.Option(1, "--depth", min=0, help="Levels of modules to list."),
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a value; repeatable."
    ),
    out: Path | None = typer.Option(None, "--json", metavar="FILE", help="All modules and operators as JSON."),  # noqa: B008
) -> None:
    """Count FLOPs, parameters, activations and bytes of a model for one sample, module by module."""
    from portbev.bench.complexity import complexity
    from portbev.config import load_config
    from portbev.errors import PortbevError
    from portbev.files import write_json
    from portbev.terminal import open_console

    if part not in ("train", "eval"):
        raise PortbevError(f"there is no part {part!r}", where="--part", cure="train or eval")
    one = f"{part}.batch_size=1"  # unless the command says otherwise
    found = complexity(load_config(config, [one, *set_]), cast("Part", part))
    _show(open_console(), config, found, depth)
    if out is not None:
        write_json(out, _document(config, part, found))
        print(f"written: {out}")


def _show(console: Console, config: str, found: Complexity, depth: int) -> None:
    from rich.table import Table

    from portbev.terminal import fitting, print_whole, say

    rows = [_row(path, found, found.modules[path]) for path in _listed(found, depth)]

    def table(columns: Sequence[int]) -> Table:
        made = Table(box=None, pad_edge=False)
        for column in columns:
            made.add_column(HEADERS[column], justify="right" if column else "left", no_wrap=True)
        for row in rows:
            made.add_row(*(row[column] for column in columns))
        return made

    samples = f"{found.samples} sample" + "s" * (found.samples > 1)
    say(console, f"{config}: a forward pass of {samples}")
    fitted, gone = fitting(console, table, len(HEADERS), LEAST_IMPORTANT)
    print_whole(console, fitted)
    if gone:
        say(console, f"left out for width: {'; '.join(HEADERS[column] for column in sorted(gone))}")
    if found.backward is not None:
        ratio = found.backward.flops / max(1, found.modules[""].flops)
        say(console, f"backward, without losses: {_giga(found.backward.flops)} GFLOP, {ratio:.2f} times the forward")
    names = sorted(found.operators, key=lambda name: -found.operators[name][1])
    told = ", ".join(f"{name} {_giga(found.operators[name][1])}" for name in names)
    say(console, f"GFLOP by operator: {told}")
    say(console, f"without FLOPs, their bytes counted: {_first(list(found.uncounted), 10)}")


def _listed(found: Complexity, depth: int) -> list[str]:
    """The whole last, as a sum."""
    return [path for path in found.modules if path and path.count(".") < depth] + [""]


def _row(path: str, found: Complexity, amount: Amount) -> list[str]:
    whole = found.modules[""].flops
    parameters, trained = found.parameters.get(path, (0, 0))
    return [
        path or "in all",
        _giga(amount.flops),
        f"{amount.flops / max(1, whole):.1%}",
        _mega(parameters) + ("" if trained == parameters else f" ({_mega(trained)} train)"),
        _mega(amount.activations),
        f"{amount.bytes / 1e6:,.1f}",
        f"{amount.flops / max(1, amount.bytes):.1f}",
    ]


def _giga(count: int) -> str:
    return f"{count / 1e9:,.3f}" if count < 1e11 else f"{count / 1e9:,.1f}"


def _mega(count: int) -> str:
    return f"{count / 1e6:,.3f}" if count < 1e8 else f"{count / 1e6:,.1f}"


def _first(names: list[str], count: int) -> str:
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")


def _document(config: str, part: str, found: Complexity) -> dict[str, Any]:
    def plain(path: str, amount: Amount) -> dict[str, Any]:
        parameters, trained = found.parameters.get(path, (0, 0))
        return {**vars(amount), "parameters": parameters, "trained_parameters": trained}

    return {
        "schema": "portbev.complexity/1",
        "config": config,
        "part": part,
        "samples": found.samples,
        "modules": {path: plain(path, amount) for path, amount in found.modules.items()},
        "backward": None if found.backward is None else vars(found.backward),
        "operators": {name: {"calls": calls, "flops": total} for name, (calls, total) in found.operators.items()},
        "uncounted": found.uncounted,
    }
