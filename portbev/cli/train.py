"""``portbev train``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from portbev.train import Run


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help)(train)


def train(
    config: str = typer.Argument("", metavar="CONFIG", help="YAML file, or the name of one that comes with portbev."),
    backend: str = typer.Option("auto", "--backend", help="auto, cpu, cuda, rocm, npu, or a plugin's."),
    emulate: bool = typer.Option(False, "--emulate", help="Use the emulated device of that backend."),
    data_root: str | None = typer.Option(
        None, "--data-root", help="Folder of the data set, or synthetic:?scenes=N&seed=S."
    ),
    out: Path | None = typer.Option(None, "--out", help="Run directory; default: runs/NAME-BACKEND."),  # noqa: B008
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    kernel: list[str] = typer.Option(  # noqa: B008
        [], "--kernel", metavar="OP=PROVIDER", help="Who serves an operator (all=reference); repeatable."
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue the run in --out; CONFIG may be left out."),
    init: Path | None = typer.Option(None, "--init", metavar="CHECKPOINT", help="Start from these weights."),  # noqa: B008
    trust_pickle: bool = typer.Option(False, "--trust-pickle", help="Allow --init to execute code from the file."),
    report: bool = typer.Option(False, "--report", help="Draw pictures and write a report at the end."),
) -> None:
    """Train, evaluate, and print scores, FPS and where everything is."""
    from portbev.cli.options import kernel_choice
    from portbev.config import load_config
    from portbev.errors import PortbevError
    from portbev.runtime import find_backend
    from portbev.train import load_run, train
    from portbev.train.setup import resume_command

    overrides = [*set_, *(f"compute.kernels.{operator}={provider}" for operator, provider in kernel_choice(kernel).items())]
    if not config:
        if not (resume and out):
            raise PortbevError("no configuration", cure="portbev train CONFIG ..., or portbev train --resume --out RUN")
        recorded = load_run(out)
        settings = load_config(recorded.info["config"], overrides)
        data_root = data_root or recorded.info["data"]["source"]
        if backend == "auto":
            backend, emulate = recorded.info["backend"]["name"], recorded.info["backend"]["emulated"]
    else:
        settings = load_config(config, overrides)
    chosen = find_backend(backend, emulate=emulate)
    folder = out or Path("runs") / f"{settings.name}-{chosen.name}"
    run = train(
        settings, backend=chosen, data_root=data_root, out=folder, resume=resume, init=init, trust_pickle=trust_pickle
    )
    if run.status == "interrupted":
        if _rank() != 0:
            raise typer.Exit(130)
        done = run.info["progress"]
        print(f"interrupted at step {done['step']} of {done['total_steps']}; continue with:")
        print(f"  {resume_command(sys.argv)}")
        raise typer.Exit(130)
    if _rank() != 0:
        return
    _show(run)
    if report:
        _report(run)


def _show(run: Run) -> None:
    """The numbers of a finished run, and where its files are."""
    from rich.console import Console

    from portbev.evaluate.benchmark import benchmark_of, headline_metrics

    metrics, training = run.metrics or {}, run.info["training"]
    console = Console(highlight=False, soft_wrap=True)
    label, split = run.info["backend"]["label"], metrics.get("split")
    console.print(
        f"{run.info['name']} on {label}: {metrics.get('samples')} samples of {split} ({metrics.get('weights')} weights)"
    )
    benchmark = benchmark_of(metrics)
    for metric in headline_metrics(benchmark):
        console.print(f"  {metric.name}  {_number(metric.of(metrics), 4)}")
    inference = metrics.get("inference", {})
    speed = f"training {_number(training.get('fps'), 2)}, inference {_number(inference.get('fps'), 2)} samples/s"
    console.print(f"  FPS  {speed}")
    console.print(f"  peak memory  {training['peak_memory'] / 2**30:.2f} GiB in training")
    console.print(f"run directory  {run.path}", markup=False)
    console.print(f"predictions    {run.predictions}", markup=False)
    for what, place, command in (
        ("pictures", run.path / "pictures", f"portbev viz {run.path}"),
        ("report", run.path / "report", f"portbev parity report {run.path}"),
    ):
        console.print(f"{what:<15}{place}" + ("" if place.exists() else f"  (made by: {command})"), markup=False)
    for warning in run.info["warnings"]:
        console.print(f"warning: {warning}", markup=False)


def _report(run: Run) -> None:
    """Pictures and report, by the commands that make them."""
    from portbev.cli import main

    for command in (["viz", str(run.path)], ["parity", "report", str(run.path)]):
        main(command)


def _number(value: Any, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _rank() -> int:
    import os

    return int(os.environ.get("RANK", "0"))
