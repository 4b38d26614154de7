"""What is asked of a queue."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbev.errors import ConfigError, PortbevError

SECONDS_TO_SAVE = 120
"""How long before its limit a job is told to write a checkpoint and end."""


@dataclass(frozen=True)
class Request:
    """A training as a job.

    Attributes:
        arguments: of ``portbev train``.
        name: the job's.
        folder: for the queue's logs and pickles.
        cluster: ``slurm`` or ``local``.
        nodes, tasks_per_node: machines, and processes of each.
        gpus_per_node, cpus_per_task, mem_gb: asked for; None: what the queue gives.
        minutes: time limit.
        signal_delay: seconds before the limit, when the job is told.
        requeues: how often it may be put into the queue again after the limit.
        extra: further options of sbatch by name: partition, account, qos, constraint and any other.
        setup: lines of shell before the training, such as ``module load``.
    """

    arguments: Sequence[str]
    name: str
    folder: Path
    cluster: str = "slurm"
    nodes: int = 1
    tasks_per_node: int = 1
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    minutes: int = 60
    signal_delay: int = SECONDS_TO_SAVE
    requeues: int = 20
    extra: dict[str, str] = field(default_factory=dict)
    setup: Sequence[str] = ()

    def check(self) -> None:
        """Raise a ConfigError for what cannot be."""
        if self.cluster not in ("slurm", "local"):
            raise ConfigError(f"unknown queue {self.cluster!r}", where="--cluster", cure="Known: slurm, local")
        if self.cluster == "local" and self.nodes > 1:
            raise ConfigError("--cluster local is this machine alone", where="--nodes", cure="Leave it out")
        if self.cluster == "local" and self.extra:
            what = f"{', '.join(self.extra)}: options of sbatch, which --cluster local does not ask"
            raise ConfigError(what, where="--cluster", cure="Leave them out")
        if self.signal_delay >= self.minutes * 60:
            what = f"{self.signal_delay} s before a limit of {self.minutes} min there is nothing to end"
            raise ConfigError(what, where="--signal-delay", cure="Give a longer --time, or a shorter --signal-delay")

    @property
    def shared(self) -> dict[str, Any]:
        """Submitit's parameters that every queue takes."""
        found = {
            "name": self.name,
            "timeout_min": self.minutes,
            "nodes": self.nodes,
            "tasks_per_node": self.tasks_per_node,
            "gpus_per_node": self.gpus_per_node,
            "cpus_per_task": self.cpus_per_task,
            "mem_gb": self.mem_gb,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def slurm(self) -> dict[str, Any]:
        """Submitit's parameters for SLURM alone; by ``requeue`` a job goes on after a machine was lost."""
        more: dict[str, Any] = {"requeue": True, **self.extra}
        found: dict[str, Any] = {"signal_delay_s": self.signal_delay, "additional_parameters": more}
        return {**found, "setup": list(self.setup)} if self.setup else found


def minutes_of(text: str) -> int:
    """The minutes of a time limit as SLURM writes it: MIN, MIN:SEC, H:MIN:SEC, D-H, D-H:MIN or D-H:MIN:SEC.

    Raises:
        ConfigError: it is none, or no time at all.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if found is None:
        raise _no_time(text)
    days, *rest = (None if part is None else int(part) for part in found.groups())
    numbers = [part for part in rest if part is not None]
    if days is not None:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, minutes, seconds = 0, numbers[0], (*numbers, 0)[1]
    total = ((days or 0) * 24 + hours) * 3600 + minutes * 60 + seconds
    if total == 0:
        raise _no_time(text)
    return -(-total // 60)


def options_of(items: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` items as options of sbatch.

    Raises:
        PortbevError: an item without ``=``.
    """
    found = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not (separator and key.strip("-")):
            raise PortbevError(f"cannot read {item!r}", where="--slurm", cure="Write KEY=VALUE: --slurm gres=gpu:4")
        found[key.lstrip("-")] = value
    return found


def _no_time(text: str) -> ConfigError:
    cure = "Minutes, or as SLURM writes it: 90, 12:00:00, 2-00:00:00"
    return ConfigError(f"{text!r} is no time limit", where="--time", cure=cure)
