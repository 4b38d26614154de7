"""``portbev submit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": True}
    epilog = "Example: portbev submit CONFIG --data-root DIR --out runs/mine --nodes 2 --gpus 8 --time 2-00:00:00"
    app.command(name, help=help, context_settings=settings, epilog=epilog)(submit)


def submit(
    arguments: list[str] = typer.Argument(  # noqa: B008
        ..., metavar="CONFIG [OPTIONS OF TRAIN]", help="As portbev train takes them.", show_default=False
    ),
    cluster: str = typer.Option("slurm", "--cluster", help="slurm, or local: processes of this machine."),
    name: str | None = typer.Option(None, "--name", help="Of the job; default: the configuration's."),
    nodes: int = typer.Option(1, "--nodes", min=1, help="Machines."),
    processes: int | None = typer.Option(
        None, "--processes", min=1, help="Processes of each machine; default: one for each GPU, or one."
    ),
    gpus: int | None = typer.Option(None, "--gpus", min=0, help="GPUs of each machine."),
    cpus: int | None = typer.Option(None, "--cpus", min=1, help="CPUs of each process."),
    memory: float | None = typer.Option(None, "--mem", metavar="GB", help="Memory of each machine."),
    limit: str = typer.Option("24:00:00", "--time", metavar="TIME", help="Limit: minutes, or as SLURM writes it."),
    partition: str | None = typer.Option(None, "--partition", help="SLURM's."),
    account: str | None = typer.Option(None, "--account", help="SLURM's."),
    slurm: list[str] = typer.Option(  # noqa: B008
        [], "--slurm", metavar="KEY=VALUE", help="Another option of sbatch; repeatable."
    ),
    setup: list[str] = typer.Option(  # noqa: B008
        [], "--setup", metavar="LINE", help="Line of shell before the training; repeatable."
    ),
    logs: Path | None = typer.Option(None, "--logs", help="Folder of the queue's logs; default: runs/NAME.jobs."),  # noqa: B008
    signal_delay: int = typer.Option(
        120, "--signal-delay", min=1, metavar="SECONDS", help="Before the limit, to write a checkpoint."
    ),
    requeues: int = typer.Option(20, "--requeues", min=0, help="How often it is queued again after its limit."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be submitted."),
    wait: bool = typer.Option(False, "--wait", help="Wait for the job's end."),
) -> None:
    """Train as a job that writes a checkpoint before its time limit and goes on in the next one."""
    from portbev.submit.queue import described
    from portbev.submit.queue import submit as hand_in
    from portbev.submit.request import Request, minutes_of, options_of

    named = _checked(arguments)
    folder = (logs or Path("runs") / f"{name or named}.jobs").absolute()
    asked = {"partition": partition, "account": account}
    request = Request(
        arguments=arguments,
        name=name or named,
        folder=folder,
        cluster=cluster,
        nodes=nodes,
        tasks_per_node=processes or gpus or 1,
        gpus_per_node=gpus,
        cpus_per_task=cpus,
        mem_gb=memory,
        minutes=minutes_of(limit),
        signal_delay=signal_delay,
        requeues=requeues,
        extra={**{key: value for key, value in asked.items() if value}, **options_of(slurm)},
        setup=setup,
    )
    if dry_run:
        print("\n".join(described(request)))
        return
    job = hand_in(request)
    print(f"job {job.job_id} ({request.name}) is submitted; its output: {job.paths.stdout}", flush=True)
    if wait:
        _wait(job)


def _checked(arguments: list[str]) -> str:
    """The name of the training's configuration, read here so that a mistake does not wait in the queue.

    Raises:
        PortbevError: ``portbev train`` would refuse these arguments.
    """
    from portbev.cli import build_app
    from portbev.cli.options import kernel_settings
    from portbev.cli.train import recorded_run
    from portbev.config import load_config
    from portbev.errors import ConfigError

    group: Any = typer.main.get_command(build_app("train"))
    given = group.commands["train"].make_context("portbev train", list(arguments)).params
    if given["launcher"] != "auto":
        cure = "Leave it out: the job's processes find each other"
        raise ConfigError("portbev submit starts the processes itself", where="--launcher", cure=cure)
    config = given["config"] or recorded_run(given["resume"], given["out"]).record.config
    return load_config(config, [*given["set_"], *kernel_settings(given["kernel"])]).name


def _wait(job: Any) -> None:
    """Wait for the end of the job, and say how it ended.

    Raises:
        PortbevError: it ended without a result.
    """
    from submitit.core.utils import UncompletedJobError

    from portbev.errors import PortbevError

    try:
        ended = job.results()
    except UncompletedJobError as error:
        tail = [line for line in (job.stderr() or job.stdout() or "").splitlines() if line.strip()][-1:]
        what = f"job {job.job_id} ended without finishing the training{': ' if tail else ''}{' '.join(tail)[:200]}"
        raise PortbevError(what, where=str(job.paths.stdout), cure="Read its output") from error
    print(f"job {job.job_id}: {', '.join(sorted(set(ended)))}")
