"""``portbev eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from portbev.cli.options import DATA_ROOT, LAUNCHER, kernel_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from portbev.evaluate.benchmark import ClassTable


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help)(evaluate)


def evaluate(
    context: typer.Context,
    what: Path = typer.Argument(..., metavar="RUN|CHECKPOINT|RESULTS", help="What to evaluate."),  # noqa: B008
    config: str | None = typer.Option(
        None, "--config", help="Configuration, for a checkpoint that does not carry its own."
    ),
    backend: str = typer.Option("auto", "--backend", help="auto, cpu, cuda, rocm, npu, or a plugin's."),
    emulate: bool = typer.Option(False, "--emulate", help="Use the emulated device of that backend."),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    split: str | None = typer.Option(None, "--split", help="Split to evaluate on."),
    version: str | None = typer.Option(None, "--version", help="Version of the data, where there are several."),
    range_: str | None = typer.Option(
        None,
        "--range",
        metavar="NEAR-FAR",
        help="Score only what lies this far away [m]: 0-30, or 30- for beyond.",
    ),
    out: Path | None = typer.Option(None, "--out", help="Folder for predictions.json and metrics.json."),  # noqa: B008
    benchmark: str | None = typer.Option(
        None, "--benchmark", metavar="NAME", help="Whose results the file holds, where it does not show."
    ),
    infos: str | None = typer.Option(
        None, "--infos", metavar="FILE", help="Of a pickle of results: the infos in whose order they are."
    ),
    boxes: str | None = typer.Option(
        None, "--boxes", metavar="LAYOUT", help="Of a pickle of results: how its boxes are written, if it is open."
    ),
    classes: str | None = typer.Option(
        None, "--classes", metavar="NAMES", help="Of a pickle of results: its classes in their order, with commas."
    ),
    checkpoint: str = typer.Option("latest", "--checkpoint", help="Of a run: latest, best, or a step."),
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    kernel: list[str] = typer.Option([], "--kernel", metavar="OP=PROVIDER", help="Who serves an operator; repeatable."),  # noqa: B008
    launcher: str = typer.Option("auto", "--launcher", help=LAUNCHER),
) -> None:
    """Score a run again, a checkpoint (ours or an original implementation's), or anyone's file of results."""
    from portbev.errors import PortbevError
    from portbev.evaluate.distance import parse_range
    from portbev.evaluate.recognise import recognise
    from portbev.launcher.adopt import adopt

    adopt(launcher)
    if out is not None and out.suffix.lower() in (".json", ".pkl", ".pickle"):
        cure = f"predictions.json and metrics.json are written into it: --out {out.with_suffix('')}"
        raise PortbevError("--out is a folder", where=str(out), cure=cure)
    within = None if range_ is None else parse_range(range_)
    kind = "results" if benchmark is not None and not (what / "run.json").is_file() else recognise(what)
    if kind == "run" and config is not None:
        kind = "checkpoint"
    _refuse_idle(context, kind, what)
    if kind == "results":
        reading = {"infos": infos, "boxes": boxes, "classes": classes}
        from portbev.evaluate.results import evaluate_results

        show(
            evaluate_results(
                what,
                benchmark=benchmark,
                data_root=data_root,
                split=split,
                version=version,
                within=within,
                out=out,
                reading={name: value for name, value in reading.items() if value is not None},
            )
        )
        if out is not None:
            print(f"written: {out / 'metrics.json'}")
        return
    from portbev.evaluate.checkpoints import evaluate_checkpoint, evaluate_run
    from portbev.progress import Reporter

    overrides = [*set_, *kernel_settings(kernel)]
    reporter = Reporter(quiet=_rank() != 0)
    common: dict[str, Any] = {"backend": backend, "emulate": emulate, "data_root": data_root, "reporter": reporter}
    common |= {"out": out, "within": within}
    if kind == "run":
        record = evaluate_run(what, split=split, version=version, checkpoint=checkpoint, overrides=overrides, **common)
    else:
        settings = _settings(what, config, overrides, split, version)
        record = evaluate_checkpoint(what, settings, **common)
    if _rank() == 0:
        show(record)


_NAMES = {"set_": "--set", "range_": "--range"}
_IDLE = {
    "run": ("benchmark", "infos", "boxes", "classes"),
    "checkpoint": ("benchmark", "checkpoint", "infos", "boxes", "classes"),
    "results": ("config", "backend", "emulate", "checkpoint", "set_", "kernel"),
}
"""Options that do nothing for what is evaluated."""
_SAID = {"run": "a run", "checkpoint": "a checkpoint", "results": "a file of results"}


def _refuse_idle(context: typer.Context, kind: str, what: Path) -> None:
    """Raise for options that were given and would do nothing."""
    from portbev.errors import PortbevError

    given = [name for name in _IDLE[kind] if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"]
    if given:
        options = [_NAMES.get(name, "--" + name.replace("_", "-")) for name in given]
        said = f"{', '.join(options)} {'does' if len(options) == 1 else 'do'} nothing for {_SAID[kind]}"
        raise PortbevError(said, where=str(what), cure="Leave it out" if len(options) == 1 else "Leave them out")


def show(record: dict[str, Any], console: Console | None = None) -> None:
    """A table of ``metrics.json`` by class, and the benchmark's figures."""
    from portbev import terminal
    from portbev.evaluate.benchmark import benchmark_of, distance_table, headline

    benchmark = benchmark_of(record)
    version = f" ({record['version']})" if record.get("version") else ""
    title = f"{record['samples']} samples of {record['split']}{version}{_range_of(record)}"
    console = console or terminal.open_console()
    if record.get("scored", True):
        _print_table(benchmark.class_table(record), title, console)
        terminal.say(console, headline(benchmark, record).replace("  ", "   "))
        if "mean_ap_own_classes" in record:
            terminal.say(console, f"mAP over the model's own classes {_cell(record['mean_ap_own_classes'])}")
        if record.get("by_distance"):
            _print_table(distance_table(record["by_distance"]), "by distance", console)
    else:
        terminal.say(console, f"{title}: not scored")
    inference = record.get("inference")
    if inference and inference["fps"] is not None:
        terminal.say(console, f"inference {inference['fps']:.2f} samples/s ({inference['method']})")
    for note in record["notes"]:
        terminal.say(console, f"note: {note}")


def _print_table(content: ClassTable, title: str, console: Console) -> None:
    """The table; a terminal that is too narrow for it gets it without its last figures, but with the counts."""
    from portbev import terminal

    names = list(content.columns)
    figures = [number for number, name in enumerate(names) if number and name not in _COUNTS]
    drop = [*reversed(figures), *(names.index(name) for name in _COUNTS if name in names)]
    terminal.say(console, title)
    full = _table(content, range(len(names)))
    gap = 1 if not console.is_terminal or terminal.wide(console, full) <= console.width else 0
    table, gone = terminal.fitting(console, lambda kept: _table(content, kept, gap), len(names), drop)
    terminal.print_whole(console, table)
    if gone:
        terminal.say(console, f"left out for width: {', '.join(names[one] for one in sorted(gone))} (metrics.json)")


_COUNTS = ("predicted", "annotated")


def _table(content: ClassTable, kept: Sequence[int], gap: int = 1) -> Table:
    """The table of some of its columns, by number; ``gap``: blanks between them, besides one."""
    from rich.box import HORIZONTALS
    from rich.table import Table

    table = Table(box=HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    table.add_column(content.head, no_wrap=True)
    for index in kept:
        table.add_column(content.columns[index], justify="right", no_wrap=True)
    for name, cells in content.rows:
        table.add_row(name, *(_cell(cells[index]) for index in kept))
    if content.total is not None:
        table.add_section()
        table.add_row(content.total[0], *(_cell(content.total[1][index]) for index in kept))
    return table


def _range_of(record: dict[str, Any]) -> str:
    """The distances to which the scoring was confined, as part of a title."""
    import math

    from portbev.evaluate.distance import range_name

    if not record.get("within"):
        return ""
    near, far = record["within"]
    return f" within {range_name((near, math.inf if far is None else far))}"


def _settings(what: Path, config: str | None, overrides: list[str], split: str | None, version: str | None) -> Any:
    """The configuration for a checkpoint: the one given, or the one that its ``meta.json`` carries."""

    from portbev.config import load_config
    from portbev.errors import CheckpointError
    from portbev.evaluate.checkpoints import with_data
    from portbev.files import parse_json
    from portbev.tensorfiles.kinds import kind_of

    if config is not None:
        return with_data(load_config(config, overrides), split=split, version=version)
    meta = (what if what.is_dir() else what.parent) / "meta.json"
    if not meta.is_file():
        if what.is_file():
            kind_of(what)  # says what it is, where that is no checkpoint
        cure = "Give the configuration of the model: --config CONFIG; or, if these are results, whose: --benchmark NAME"
        raise CheckpointError("carries no configuration", where=str(what), cure=cure)
    try:
        carried = parse_json(meta.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("is damaged: no configuration in it", where=str(meta)) from error
    return with_data(load_config(carried, overrides), split=split, version=version)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _rank() -> int:
    from portbev.launcher import launch

    return launch().rank
