"""Processes that SLURM or MPI started, as their variables say."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from portbev.errors import BackendError
from portbev.launcher import number
from portbev.launcher.hosts import hosts, per_node

LOCAL = "127.0.0.1"
_PORTS = (15000, 30000)
"""Ports that are chosen by the number of a job: below those that Linux gives out by itself (from 32768 on)."""


@dataclass(frozen=True)
class Tasks:
    """One of several processes, and where they meet.

    Attributes:
        local_size: processes of this machine; None where nothing says it.
        address, port: of the first process.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int | None
    address: str
    port: int

    def variables(self) -> Mapping[str, str]:
        """The environment that torchrun would have made."""
        found = {
            "RANK": self.rank,
            "WORLD_SIZE": self.size,
            "LOCAL_RANK": self.local_rank,
            "MASTER_ADDR": self.address,
            "MASTER_PORT": self.port,
        }
        if self.local_size is not None:
            found["LOCAL_WORLD_SIZE"] = self.local_size
        return {name: str(value) for name, value in found.items()}


def slurm_tasks() -> Tasks:
    """This process as one of ``srun``'s tasks.

    SLURM_PROCID, SLURM_LOCALID, SLURM_STEP_NUM_TASKS (or SLURM_NTASKS) and SLURM_STEP_NODELIST (or SLURM_JOB_NODELIST)
    are read. MASTER_ADDR and MASTER_PORT are kept where they are set; else the first machine of the list, and a port
    by the job's number.

    Raises:
        BackendError: it is no task of SLURM's, or the variables do not fit together.
    """
    start = "srun --ntasks N ... portbev train CONFIG --launcher slurm"
    rank, size = _one_of("SLURM", ("SLURM_PROCID",), ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS"), start)
    if rank == 0 and size > 1 and not {"SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"} & os.environ.keys():
        what = f"--launcher slurm in the script of the job itself: of its {size} tasks nobody has started the others"
        raise BackendError(what, where="environment", cure=f"Write srun before the command: {start}")
    local = number("SLURM_LOCALID")
    if local is None:
        raise _missing("SLURM_LOCALID", "slurm", start)
    listed = next((os.environ[name] for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST")
                   if os.environ.get(name)), None)  # fmt: skip
    address = os.environ.get("MASTER_ADDR")
    if not address and listed is None and size > 1:
        raise _missing("SLURM_JOB_NODELIST", "slurm", start)
    if not address:
        first_two = list(islice(hosts(listed), 2)) if listed and size > 1 else []
        address = first_two[0] if len(first_two) > 1 else LOCAL
    port = number("MASTER_PORT") or _port("SLURM_JOB_ID", "SLURM_STEP_ID")
    return Tasks(rank, size, local, _tasks_here(size), address, port)


def mpi_tasks() -> Tasks:
    """This process as one of ``mpirun``'s: of Open MPI, MPICH, Intel MPI or MVAPICH.

    On several machines MASTER_ADDR must be set, unless SLURM lists them.

    Raises:
        BackendError: no MPI started it, or the variables do not fit together.
    """
    start = "mpirun -n N portbev train CONFIG --launcher mpi"
    ranks = ("OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMI_RANK")
    rank, size = _one_of("MPI", ranks, ("OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "PMI_SIZE"), start)
    local = _first("OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMI_LOCAL_RANK",
                   "PALS_LOCAL_RANKID", "LOCAL_RANK")  # fmt: skip
    local_size = _first("OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "PMI_LOCAL_SIZE",
                        "PALS_LOCAL_SIZE", "LOCAL_WORLD_SIZE")  # fmt: skip
    if local is None and size > 1:
        what = "--launcher mpi, and no variable says which process of its machine this is (OMPI_COMM_WORLD_LOCAL_RANK, "
        raise BackendError(f"{what}MPI_LOCALRANKID)", where="environment", cure="Set LOCAL_RANK in each process")
    address = os.environ.get("MASTER_ADDR")
    if not address and size in (1, local_size):
        address = LOCAL
    if not address and os.environ.get("SLURM_JOB_NODELIST"):
        address = next(hosts(os.environ["SLURM_JOB_NODELIST"]))
    if not address:
        what = "--launcher mpi on several machines, and MASTER_ADDR is not set"
        cure = "mpirun -x MASTER_ADDR=$(hostname) ... (MPICH, Intel MPI: -genv MASTER_ADDR $(hostname)), from the "
        raise BackendError(what, where="environment", cure=f"{cure}machine of process 0")
    port = number("MASTER_PORT") or _port("PMIX_NAMESPACE", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
    return Tasks(rank, size, local or 0, local_size, address, port)


def _one_of(launcher: str, ranks: tuple[str, ...], sizes: tuple[str, ...], start: str) -> tuple[int, int]:
    """Number of this process, and how many there are."""
    option = launcher.lower()
    rank, size = _first(*ranks), _first(*sizes)
    if rank is None:
        raise _missing(" or ".join(ranks), option, start)
    if size is None:
        raise _missing(" or ".join(sizes), option, start)
    if not 0 <= rank < size:
        what = f"{next(name for name in ranks if name in os.environ)} is {rank} of {size} processes"
        cure = "They are counted from 0: unset what was exported by hand, or start anew"
        raise BackendError(what, where="environment", cure=cure)
    return rank, size


def _missing(name: str, option: str, start: str) -> BackendError:
    what = f"--launcher {option}, and {name} is not set"
    return BackendError(what, where="environment", cure=f"Start with: {start}; for one process leave out --launcher")


def _first(*names: str) -> int | None:
    """The first of these variables that is set."""
    return next((value for value in (number(name) for name in names) if value is not None), None)


def _tasks_here(size: int) -> int | None:
    counts = os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE")
    node = number("SLURM_NODEID")
    if not counts or node is None:
        return size if size == 1 else None
    return next(islice(per_node(counts), node, None), None)


def _port(*names: str) -> int:
    """A port that all processes of a job choose alike, by what these variables say."""
    said = [os.environ[name] for name in names if os.environ.get(name)]
    begin, end = _PORTS
    digest = hashlib.sha256(" ".join(said).encode()).digest()
    return begin + int.from_bytes(digest[:8], "big") % (end - begin)
