"""``portbev eval``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from portbev.cli.options import DATA_ROOT, kernel_settings

if TYPE_CHECKING:
    from rich.console import Console


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help)(evaluate)


def evaluate(
    what: Path = typer.Argument(..., metavar="RUN|CHECKPOINT|RESULTS", help="What to evaluate."),  # noqa: B008
    config: str | None = typer.Option(
        None, "--config", help="Configuration, for a checkpoint that does not carry its own."
    ),
    backend: str = typer.Option("auto", "--backend", help="auto, cpu, cuda, rocm, npu, or a plugin's."),
    emulate: bool = typer.Option(False, "--emulate", help="Use the emulated device of that backend."),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    split: str | None = typer.Option(None, "--split", help="Split to evaluate on."),
    version: str | None = typer.Option(None, "--version", help="Version of the data, where there are several."),
    out: Path | None = typer.Option(None, "--out", help="Folder for predictions.json and metrics.json."),  # noqa: B008
    benchmark: str | None = typer.Option(
        None, "--benchmark", metavar="NAME", help="Whose results the file holds, where it does not show."
    ),
    checkpoint: str = typer.Option("latest", "--checkpoint", help="Of a run: latest, best, or a step."),
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    kernel: list[str] = typer.Option([], "--kernel", metavar="OP=PROVIDER", help="Who serves an operator; repeatable."),  # noqa: B008
    trust_pickle: bool = typer.Option(
        False, "--trust-pickle", help="Allow reading the checkpoint to execute code from it."
    ),
) -> None:
    """Score a run again, a checkpoint (ours or an original implementation's), or anyone's file of results."""
    overrides = [*set_, *kernel_settings(kernel)]
    if benchmark is not None or _is_results(what):
        _score_results(what, benchmark, data_root=data_root, split=split, version=version, out=out)
        return
    from portbev.evaluate.checkpoints import evaluate_checkpoint, evaluate_run
    from portbev.progress import Reporter

    reporter = Reporter(quiet=_rank() != 0)
    common: dict[str, Any] = {"backend": backend, "emulate": emulate, "data_root": data_root, "reporter": reporter}
    if (what / "run.json").is_file() and config is None:
        record = evaluate_run(
            what, split=split, version=version, out=out, checkpoint=checkpoint, overrides=overrides, **common
        )
    else:
        settings = _settings(what, config, overrides, split, version)
        record = evaluate_checkpoint(what, settings, out=out, trust_pickle=trust_pickle, **common)
    if _rank() == 0:
        show(record)


def show(record: dict[str, Any], console: Console | None = None) -> None:
    """A table of ``metrics.json`` by class, and the benchmark's figures."""
    from rich.console import Console
    from rich.table import Table

    from portbev.evaluate.benchmark import benchmark_of, headline

    benchmark = benchmark_of(record)
    content = benchmark.class_table(record)
    version = f" ({record['version']})" if record.get("version") else ""
    table = Table(title=f"{record['samples']} samples of {record['split']}{version}", title_justify="left")
    table.add_column(content.head, no_wrap=True)
    for name in content.columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name, cells in content.rows:
        table.add_row(name, *map(_cell, cells))
    if content.total is not None:
        table.add_section()
        table.add_row(content.total[0], *map(_cell, content.total[1]))
    console = console or Console(highlight=False)
    # a file has room; a terminal may wrap the lines, but no figure or name is cut
    console.width = max(console.width, console.measure(table, options=console.options.update(width=500)).maximum)
    console.print(table, soft_wrap=True)
    console.print(headline(benchmark, record).replace("  ", "   "))
    inference = record.get("inference")
    if inference and inference["fps"] is not None:
        console.print(f"inference {inference['fps']:.2f} samples/s ({inference['method']})", soft_wrap=True)
    for note in record["notes"]:
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def _is_results(what: Path) -> bool:
    """Whether to take ``what`` for a file of results, and not for a run or a checkpoint."""
    from portbev.evaluate.benchmark import benchmarks_of_file

    if what.suffix == ".json":
        return not what.is_dir()
    return what.is_file() and bool(benchmarks_of_file(what))


def _score_results(
    results: Path,
    benchmark: str | None,
    *,
    data_root: str | None,
    split: str | None,
    version: str | None,
    out: Path | None,
) -> None:
    from portbev.errors import PortbevError
    from portbev.evaluate.benchmark import benchmark_of_file, find_benchmark
    from portbev.files import write_json
    from portbev.runs.layout import METRICS

    if not results.is_file():
        raise PortbevError("no such file", where=str(results))
    cure = "Say on what they were made: --data-root FOLDER --split NAME"
    if data_root is None:
        raise PortbevError("a file of results needs --data-root", where=str(results), cure=cure)
    if split is None:
        raise PortbevError("a file of results needs --split", where=str(results), cure=cure)
    judge = benchmark_of_file(results) if benchmark is None else find_benchmark(benchmark)
    record = judge.score_file(results, data_root=data_root, version=version, split=split)
    show(record)
    if out is not None:
        write_json(out / METRICS, record)
        print(f"written: {out / METRICS}")


def _settings(what: Path, config: str | None, overrides: list[str], split: str | None, version: str | None) -> Any:
    """The configuration for a checkpoint: the one given, or the one that its ``meta.json`` carries."""
    import json

    from portbev.config import load_config
    from portbev.errors import CheckpointError
    from portbev.evaluate.checkpoints import with_data

    if config is not None:
        return with_data(load_config(config, overrides), split=split, version=version)
    if not what.exists():
        raise CheckpointError("no such run, checkpoint or file of results", where=str(what))
    meta = (what if what.is_dir() else what.parent) / "meta.json"
    if not meta.is_file():
        cure = "Give the configuration of the model: --config CONFIG; or, if these are results, whose: --benchmark NAME"
        raise CheckpointError("carries no configuration", where=str(what), cure=cure)
    try:
        carried = json.loads(meta.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError("is damaged: no configuration in it", where=str(meta)) from error
    return with_data(load_config(carried, overrides), split=split, version=version)


def _cell(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))
