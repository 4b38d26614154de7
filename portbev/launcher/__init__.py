"""How this process was started: alone, or as one of several, which says the environment.

``torchrun`` sets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. SLURM and MPI have variables of their own:
:func:`portbev.launcher.adopt.adopt` brings them into torchrun's form, which everything else reads.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from portbev.errors import BackendError

_CURE = "Start with: torchrun --nproc-per-node N -m portbev ..., or unset {} to run one process"
_TASKS = {  # of launchers that start several processes and do not join them: number of tasks, this one's, the option
    "SLURM": (("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"), "SLURM_PROCID", "slurm"),
    "Open MPI": (("OMPI_COMM_WORLD_SIZE",), "OMPI_COMM_WORLD_RANK", "mpi"),
    "MPI": (("PMI_SIZE",), "PMI_RANK", "mpi"),
    "MVAPICH": (("MV2_COMM_WORLD_SIZE",), "MV2_COMM_WORLD_RANK", "mpi"),
}


@dataclass(frozen=True)
class Launch:
    """``rank`` of ``size`` processes; ``local_rank`` among those of this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0


def launch() -> Launch:
    """How this process was started.

    Raises:
        BackendError: the variables of torchrun are incomplete or no numbers that fit; or SLURM or MPI started several
            processes that know nothing of each other, which would each train alone into one directory.
    """
    rank, size, local = (number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if rank is None and size is None:
        _refuse_foreign_tasks()
        return Launch(local_rank=local or 0)
    if size is None:
        raise BackendError("RANK is set and WORLD_SIZE is not", where="environment", cure=_CURE.format("RANK"))
    if rank is None and size > 1:
        raise BackendError(
            f"WORLD_SIZE is {size} and RANK is not set", where="environment", cure=_CURE.format("WORLD_SIZE")
        )
    rank = rank or 0
    if size < 1 or rank >= size:
        what = f"RANK is {rank} and WORLD_SIZE {size}: ranks are 0 to WORLD_SIZE - 1"
        raise BackendError(what, where="environment", cure=_CURE.format("RANK and WORLD_SIZE"))
    return Launch(rank, size, local or 0)


def number(name: str, cure: str = "") -> int | None:
    """The environment variable ``name`` as a number; None where it is not set or empty.

    Raises:
        BackendError: it is something else.
    """
    text = os.environ.get(name)
    if text is None or not text.strip():
        return None
    if not text.strip().isdecimal():
        what = f"{name} is {text[:40]!r}, not a number"
        raise BackendError(what, where="environment", cure=cure or _CURE.format(name))
    return int(text)


def agent() -> str | None:
    """Which torchrun started this process: machine, number and start of its agent; None without torchrun.

    Processes that torchrun starts again, after one of them died or machines came or went, have the same agent.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    parent = os.getppid()
    try:
        started = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # not on Linux
        started = "?"
    return f"{socket.gethostname()} {parent} {started}"


def _refuse_foreign_tasks() -> None:
    for launcher, (counts, own, option) in _TASKS.items():
        said = next((os.environ[name] for name in counts if os.environ.get(name, "").isdecimal()), "1")
        if int(said) > 1 and own in os.environ:
            what = f"{launcher} started {said} tasks that do not know each other (this is {os.environ[own]})"
            cure = (
                f"Join them with --launcher {option}; or start one task a machine, and in it: torchrun "
                f"--nproc-per-node {said} -m portbev ... (several machines: also --nnodes, --rdzv-backend c10d and "
                "--rdzv-endpoint HOST:PORT); or, if this is no task, --launcher none"
            )
            raise BackendError(what, where="environment", cure=cure)
