"""``portbev train``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portbev.cli.options import DATA_ROOT, LAUNCHER

if TYPE_CHECKING:
    from portbev.runs import Run


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help)(train)


def train(
    config: str = typer.Argument("", metavar="CONFIG", help="YAML file, or the name of one that comes with portbev."),
    backend: str = typer.Option("auto", "--backend", help="auto, cpu, cuda, rocm, npu, or a plugin's."),
    emulate: bool = typer.Option(False, "--emulate", help="Use the emulated device of that backend."),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    out: Path | None = typer.Option(None, "--out", help="Run directory; default: runs/NAME-BACKEND."),  # noqa: B008
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    kernel: list[str] = typer.Option(  # noqa: B008
        [], "--kernel", metavar="OP=PROVIDER", help="Who serves an operator (all=reference); repeatable."
    ),
    resume: bool = typer.Option(False, "--resume", help="Continue the run in --out; CONFIG may be left out."),
    init: Path | None = typer.Option(None, "--init", metavar="CHECKPOINT", help="Start from these weights."),  # noqa: B008
    init_partial: bool = typer.Option(
        False, "--init-partial", help="Of --init, take the weights that fit, and list the others."
    ),
    report: bool = typer.Option(False, "--report", help="Draw pictures and write a report at the end."),
    launcher: str = typer.Option("auto", "--launcher", help=LAUNCHER),
) -> None:
    """Train, evaluate, and print scores, FPS and where everything is."""
    from portbev.cli.options import kernel_settings
    from portbev.config import load_config
    from portbev.launcher.adopt import adopt
    from portbev.runtime import find_backend, why_auto
    from portbev.train import train

    adopt(launcher)
    overrides = [*set_, *kernel_settings(kernel)]
    if not config:
        recorded = recorded_run(resume, out).record
        settings = load_config(recorded.config, overrides)
        data_root = data_root or recorded.data.source
        if backend == "auto":
            backend, emulate = recorded.backend.name, recorded.backend.emulated
    else:
        settings = load_config(config, overrides)
    chosen = find_backend(backend, emulate=emulate)
    folder = out or Path("runs") / f"{settings.name}-{chosen.name}"
    run = train(
        settings,
        backend=chosen,
        why=why_auto(chosen) if backend == "auto" else "",
        data_root=data_root,
        out=folder,
        resume=resume,
        init=init,
        init_partial=init_partial,
    )
    if run.status == "interrupted":
        if _rank() != 0:
            raise typer.Exit(130)
        progress = run.record.progress
        print(f"interrupted at step {progress.step} of {progress.total_steps}", flush=True)
        _say_last(f"continue with:\n  {resume_command(sys.argv)}\n")
        raise typer.Exit(130)
    if _rank() != 0:
        return
    _show(run, commands=not report)
    if report:
        _report(run)


_WAIT = """
import sys, time
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        with open(f"/proc/{sys.argv[1]}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] in "ZX":
                break
    except OSError:
        break
    time.sleep(0.02)
else:
    sys.exit()
sys.stdout.write(sys.argv[2])
"""
"""Waits for the end of a process, and prints; not if it lives on, because it then goes on with the run by itself."""


def _say_last(text: str) -> None:
    """Print ``text``; under torchrun, which ends with a traceback of its own, once torchrun has ended."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or not os.path.exists(f"/proc/{os.getppid()}/stat"):
        print(text, end="", flush=True)
        return
    import subprocess

    words = [sys.executable, "-I", "-S", "-c", _WAIT, str(os.getppid()), text]
    subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)


def recorded_run(resume: bool, out: Path | None) -> Run:
    """The run in ``out`` that goes on by its own configuration.

    Raises:
        PortbevError: that was not asked for, or there is none.
    """
    from portbev import lists
    from portbev.errors import PortbevError
    from portbev.runs import load_run
    from portbev.runs.layout import RUN, runs_below

    if not (resume and out):
        raise PortbevError("no configuration", cure="portbev train CONFIG ..., or portbev train --resume --out RUN")
    if (out / RUN).is_file():
        return load_run(out)
    start = f"Start one: portbev train CONFIG --out {shlex.quote(str(out))}"
    there = [str(run) for run in runs_below(out) or runs_below(out.parent, deep=False)]
    named = f"; or name a run that is there: {lists.cut(there)}" if there else ""
    raise PortbevError("there is no run to resume", where=str(out), cure=start + named)


def _show(run: Run, *, commands: bool) -> None:
    """The numbers of a finished run, where its files are, and with ``commands`` what to type next."""
    from portbev import terminal
    from portbev.evaluate.benchmark import find_benchmark, headline_metrics

    record, metrics = run.record, run.metrics
    assert metrics is not None  # the run is finished
    console = terminal.open_console()
    samples = f"{metrics.samples} samples of {metrics.split} ({metrics.weights} weights)"
    unscored = "" if metrics.scored else ", not scored: the split has no annotations"
    said = [f"{record.name} on {record.backend.label}: {samples}{unscored}"]
    shown = headline_metrics(find_benchmark(run.benchmark)) if metrics.scored else []
    said += [f"  {metric.name}  {_number(metric.of(metrics.content), 4)}" for metric in shown]
    speed = f"training {_number(record.training.fps, 2)}, inference {_number(metrics.inference.fps, 2)} samples/s"
    said += [f"  FPS  {speed}", f"  peak memory  {record.training.peak_memory / 2**30:.2f} GiB in training"]
    for line in said:
        terminal.say(console, line)
    for what, place in _places(run):
        terminal.say(console, f"{what:<15}{place}", hang=15)
    for warning in record.warnings:
        terminal.say(console, f"warning: {warning}")
    if not commands:
        return
    for what, command in (
        ("draw pictures", f"portbev viz {shlex.quote(str(run.path))}"),
        ("write a report, of several runs too", f"portbev parity report {shlex.quote(str(run.path))}"),
    ):
        print(f"to {what}:\n  {command}")


def _places(run: Run) -> list[tuple[str, str]]:
    """What there is, and where."""
    best, steps = run.checkpoints.best(), run.checkpoints.steps()
    named = f"; best: {best.step} ({best.metric} {best.value:.4f})" if best else ""
    found = [("run directory", str(run.path)), ("predictions", str(run.predictions))]
    if steps:
        found.append(("checkpoints", f"{run.checkpoints.folder}: steps {', '.join(map(str, steps))}{named}"))
    found += [(name, str(run.path / name)) for name in ("pictures", "report") if (run.path / name).exists()]
    return found


def _report(run: Run) -> None:
    """Pictures and report, by the commands that make them."""
    from portbev.cli import main

    for command in (["viz", str(run.path)], ["parity", "report", str(run.path)]):
        main(command)


def resume_command(command: Sequence[str]) -> str:
    """What to type to continue the run that ``command`` began."""
    from portbev.config.typed import started

    words = [*started(command), *command[1:]]
    return shlex.join(words if "--resume" in words else [*words, "--resume"])


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _rank() -> int:
    from portbev.launcher import launch

    return launch().rank
