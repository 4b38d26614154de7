"""``--launcher``: whose word counts on how many processes there are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from portbev.errors import BackendError, ConfigError, nearest
from portbev.launcher import launch, number
from portbev.launcher.tasks import Tasks, mpi_tasks, slurm_tasks

LAUNCHERS = ("auto", "none", "pytorch", "slurm", "mpi")
_MEETING = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def adopt(launcher: str) -> None:
    """Make the environment say how this process was started, in torchrun's variables.

    Args:
        launcher: ``auto``: torchrun's variables where they are set, else one process; tasks of SLURM or MPI that nobody
            has joined are refused. ``none``: one process, whatever the environment says. ``pytorch``: torchrun's
            variables, which must be there. ``slurm``, ``mpi``: theirs.

    Raises:
        ConfigError: no such launcher.
        BackendError: variables are missing, or contradict each other or ``launcher``.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f"unknown launcher {launcher!r}", where="--launcher", cure=nearest(launcher, LAUNCHERS))
    if launcher in ("slurm", "mpi"):
        _join_tasks(launcher, {"slurm": slurm_tasks, "mpi": mpi_tasks}[launcher])
    elif launcher == "none":
        _be_alone()
    elif launcher == "pytorch":
        _check_torchrun()
    launch()


def without_local_rank(arguments: Sequence[str]) -> list[str]:
    """``arguments`` without ``--local-rank=N``, which ``torch.distributed.launch`` hands to what it starts.

    The number becomes LOCAL_RANK, which newer versions of it set themselves.
    """
    kept = []
    for word in arguments:
        found = re.fullmatch(r"--local[-_]rank=(\d+)", word)
        if found is None:
            kept.append(word)
        else:
            os.environ.setdefault("LOCAL_RANK", found[1])
    return kept


def _join_tasks(launcher: str, tasks: Callable[[], Tasks]) -> None:
    if "TORCHELASTIC_RUN_ID" in os.environ:
        what = f"torchrun started this process (RANK {os.environ.get('RANK')}), and --launcher {launcher} was given"
        raise BackendError(what, where="environment", cure="Leave out --launcher, or torchrun")
    found = tasks()
    for name, value in (("RANK", found.rank), ("WORLD_SIZE", found.size)):
        exported = number(name)
        if exported is not None and exported != value:
            what = f"{name} is {exported}, and by --launcher {launcher} it is {value}"
            raise BackendError(what, where="environment", cure=f"unset {name}, or leave out --launcher")
    os.environ.update(found.variables())


def _be_alone() -> None:
    size = number("WORLD_SIZE") if "TORCHELASTIC_RUN_ID" in os.environ else None
    if size is not None and size > 1:
        what = f"torchrun started {size} processes, and with --launcher none each would train alone into one directory"
        raise BackendError(what, where="environment", cure="Leave out --launcher (or --launcher pytorch), or torchrun")
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", LOCAL_WORLD_SIZE="1")


def _check_torchrun() -> None:
    missing = [name for name in _MEETING if not os.environ.get(name)]
    if missing:
        what = f"--launcher pytorch, and {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
        cure = "Start with: torchrun --nproc-per-node N -m portbev train CONFIG; for one process leave out --launcher"
        raise BackendError(what, where="environment", cure=cure)
