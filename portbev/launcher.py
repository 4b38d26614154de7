"""How this process was started: alone, or as one of several by ``torchrun``, which says so in the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from portbev.errors import BackendError

_CURE = "Start with: torchrun --nproc-per-node N -m portbev ..., or unset {} to run one process"
_TASKS = {  # of launchers that start several processes and do not join them: number of tasks, and this one's number
    "SLURM": (("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"), "SLURM_PROCID"),
    "Open MPI": (("OMPI_COMM_WORLD_SIZE",), "OMPI_COMM_WORLD_RANK"),
    "MPI": (("PMI_SIZE",), "PMI_RANK"),
    "MVAPICH": (("MV2_COMM_WORLD_SIZE",), "MV2_COMM_WORLD_RANK"),
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
    rank, size, local = (_number(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
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


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None or not text.strip():
        return None
    if not text.strip().isdecimal():
        raise BackendError(f"{name} is {text[:40]!r}, not a number", where="environment", cure=_CURE.format(name))
    return int(text)


def _refuse_foreign_tasks() -> None:
    for launcher, (counts, number) in _TASKS.items():
        said = next((os.environ[name] for name in counts if os.environ.get(name, "").isdecimal()), "1")
        if int(said) > 1 and number in os.environ:
            what = f"{launcher} started {said} tasks that do not know each other (this is {os.environ[number]})"
            cure = (
                f"Start one task a machine, and in it: torchrun --nproc-per-node {said} -m portbev ... "
                "(several machines: also --nnodes, --rdzv-backend c10d and --rdzv-endpoint HOST:PORT)"
            )
            raise BackendError(what, where="environment", cure=cure)
