"""What runs in the queue: ``portbev train`` as a process of its own, told in time to write a checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

INTERRUPTED = 130
"""Exit status of a training that was asked to stop and has written a checkpoint."""


class TrainJob:
    """A process of a training; submitit calls it in each task.

    Before the time limit, or when the job has to make room, submitit calls :meth:`checkpoint` in task 0, puts the job
    into the queue again, and the job goes on with ``--resume``. So it does when SLURM itself started it again.

    Args:
        arguments: of ``portbev train``.
        seconds_to_save: how long :meth:`checkpoint` may wait.
        resume: go on with what is there.
    """

    def __init__(self, arguments: Sequence[str], seconds_to_save: float, *, resume: bool = False) -> None:
        self.arguments, self.seconds_to_save, self.resume = list(arguments), seconds_to_save, resume
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> str:
        """Train; returns ``finished`` or ``interrupted``. With another exit status of the training, end with that."""
        command, environment = self.command(dict(os.environ))
        print(" ".join(command), flush=True)
        self._process = subprocess.Popen(command, env=environment)
        while (status := self._process.poll()) is None:  # not wait(): a signal's handler may ask meanwhile
            time.sleep(0.1)
        if status not in (0, INTERRUPTED, -signal.SIGTERM, -getattr(signal, "SIGUSR2", signal.SIGTERM)):
            sys.exit(status if status > 0 else 128 - status)
        return "interrupted" if status else "finished"

    def checkpoint(self) -> Any:
        """Let the training write a checkpoint and end; returns the job that goes on with it."""
        import submitit

        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            if not _ends(self._process.pid, self.seconds_to_save):
                print("the training did not end in time: it goes on from its last checkpoint", flush=True)
        return submitit.helpers.DelayedSubmission(TrainJob(self.arguments, self.seconds_to_save, resume=True))

    def command(self, environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """What is started in a task with this environment, and in which one."""
        again = self.resume or environment.get("SLURM_RESTART_COUNT", "0") != "0"
        resume = ["--resume"] if again and "--resume" not in self.arguments else []
        launcher = []
        if environment.get("SUBMITIT_EXECUTOR") == "slurm":
            launcher = ["--launcher", "slurm"]
        elif environment.get("SUBMITIT_LOCAL_NTASKS", "1") != "1":
            environment = {**environment, **_local_variables()}
        else:
            launcher = ["--launcher", "none"]
        return [sys.executable, "-m", "portbev", "train", *self.arguments, *launcher, *resume], environment

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}


def _local_variables() -> dict[str, str]:
    """torchrun's variables, for a task of submitit's local queue."""
    from submitit.helpers import TorchDistributedEnvironment

    found = TorchDistributedEnvironment()
    return {
        "RANK": str(found.rank),
        "WORLD_SIZE": str(found.world_size),
        "LOCAL_RANK": str(found.local_rank),
        "LOCAL_WORLD_SIZE": str(found.local_world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(found.master_port),
    }


def _ends(pid: int, seconds: float) -> bool:
    """Whether this child ends in time; it is left for :meth:`subprocess.Popen.poll` to take."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return True
        except ChildProcessError:  # taken already
            return True
        time.sleep(0.1)
    return False
