"""Handing a request to submitit, and what it will run."""

from __future__ import annotations

import shlex
import sys
from typing import Any

from portbev.errors import PortbevError
from portbev.submit.job import TrainJob
from portbev.submit.request import Request


def submit(request: Request) -> Any:
    """Put the training into the queue; returns submitit's job.

    Raises:
        PortbevError: submitit is not installed, there is no such queue here, or it refuses the request.
    """
    request.check()
    submitit = _submitit()
    more = {f"{request.cluster}_max_num_timeout": request.requeues}
    specific = request.slurm if request.cluster == "slurm" else {}
    parameters = {**request.shared, **{f"slurm_{name}": value for name, value in specific.items()}}
    try:
        executor = submitit.AutoExecutor(request.folder, cluster=request.cluster, **more)
        executor.update_parameters(**parameters)
        if request.cluster == "local":  # its executor takes these, which have no name for all queues
            executor._executor.parameters["signal_delay_s"] = request.signal_delay
            executor._executor.parameters["setup"] = list(request.setup)
        return executor.submit(_job(request))
    except PortbevError:
        raise
    except OSError as error:
        raise PortbevError(f"cannot submit: {error.strerror or error}", where=str(request.folder)) from error
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        if "srun" in said and "detect" in said:
            cure = "Submit where sbatch and srun are, see what it would be with --dry-run, or use --cluster local"
            raise PortbevError("there is no SLURM on this machine", where="--cluster slurm", cure=cure) from error
        raise PortbevError(f"the queue refused the job: {said}", where=f"--cluster {request.cluster}") from error


def described(request: Request) -> list[str]:
    """What would be submitted, for people; for SLURM with the whole script.

    Raises:
        PortbevError: submitit is not installed.
    """
    request.check()
    submitit = _submitit()
    processes = request.nodes * request.tasks_per_node
    several = f"{processes} processes on {request.nodes} machine{'s' if request.nodes > 1 else ''}"
    launcher = {"SUBMITIT_EXECUTOR": "slurm"} if request.cluster == "slurm" else {}
    command, _ = _job(request).command(launcher)
    if request.cluster == "local" and processes > 1:
        command = command[: command.index("--launcher")]  # ranks come in variables
    told = [
        f"job {request.name} on {request.cluster}: {several if processes > 1 else 'one process'}, "
        f"at most {request.minutes} min",
        f"each process: {shlex.join(command)}",
        f"{request.signal_delay} s before the limit it writes a checkpoint; then it is queued again with --resume, "
        f"at most {request.requeues} times",
        f"logs: {request.folder}",
    ]
    return told + (["", *_script(request, submitit).splitlines()] if request.cluster == "slurm" else [])


def _script(request: Request, submitit: Any) -> str:
    """The script that sbatch would get."""
    from submitit.slurm import slurm

    class Somewhere(slurm.SlurmExecutor):
        """Makes scripts also where there is no SLURM."""

        @classmethod
        def affinity(cls) -> int:
            return 1

        @classmethod
        def name(cls) -> str:
            return "slurm"

    executor = Somewhere(request.folder, max_num_timeout=request.requeues)
    executor.update_parameters(**executor._convert_parameters(request.shared), **request.slurm)
    text: str = executor._make_submission_file_text(executor._submitit_command_str, "")
    return text


def _job(request: Request) -> TrainJob:
    return TrainJob(request.arguments, max(1.0, request.signal_delay - 10.0))


def _submitit() -> Any:
    try:
        import submitit
    except ImportError as error:
        what = f"jobs are submitted by submitit, which is not installed for {sys.executable}"
        raise PortbevError(what, cure="pip install 'portbev[submit]'") from error
    return submitit
