"""Processes that train together.

One process needs no process group: :func:`join` gives it a :class:`Comm` of size 1 whose methods return their values.
Several processes are started by ``torchrun``, which sets RANK, WORLD_SIZE and LOCAL_RANK, or by SLURM or MPI (see
:mod:`portbev.launcher`).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from portbev.backend import Backend
from portbev.errors import BackendError, PortbevError
from portbev.launcher import launch
from portbev.launcher.meeting import store_of_agent

_PATIENCE = 5.0
"""Seconds that processes wait for each other, to say once what they all have to say."""


class EchoedError(PortbevError):
    """Raised in the other processes after an error of the first one, which reports the error itself."""


class Comm:
    """Communication between the processes of a run. The base class is for a run with one process.

    Attributes:
        rank: rank of this process, 0 to ``size - 1``.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files and the messages."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all processes."""

    def mean(self, value: float) -> float:
        """The mean of a float over the processes, in float32."""
        return value

    def sum_vector(self, values: Sequence[float]) -> list[float]:
        """The sum over the processes of each of several floats, in float32."""
        return list(values)

    def mean_vector(self, values: Sequence[float]) -> list[float]:
        """The mean over the processes of each of several floats, in float32."""
        return list(values)

    def mean_tensor(self, values: torch.Tensor) -> torch.Tensor:
        """The mean over the processes of each element (float32), on its device; nobody waits for it."""
        return values

    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all processes, by rank. Floats are exact; nothing is pickled."""
        return [value]

    def broadcast(self, value: Any) -> Any:
        """The ``value`` (JSON) of the first process."""
        return value

    def broadcast_tensors(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite the tensors of every process with those of the first one."""

    def on_main(self, work: Callable[[], Any]) -> Any:
        """Call ``work`` in the first process only and return its result (JSON) in all of them.

        Raises:
            PortbevError: the error that ``work`` raised; the other processes raise an :class:`EchoedError`.
        """
        if self.size == 1:
            return work()
        failure: Exception | None = None
        answer: dict[str, Any] = {}
        if self.is_main:
            try:
                answer = {"result": work()}
            except Exception as error:
                failure, answer = error, {"error": str(error)}
        answer = self.broadcast(answer)
        if failure is not None:
            raise failure
        if "error" in answer:
            raise EchoedError(f"the first process failed: {answer['error']}", where=f"process {self.rank}")
        return answer["result"]


class Group(Comm):
    """Several processes, joined by torch.distributed with the backend's collectives."""

    def __init__(self, backend: Backend) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = backend.device(local_rank(backend))

    def barrier(self) -> None:
        self.mean(0.0)

    def mean(self, value: float) -> float:
        return self.mean_vector([value])[0]

    def sum_vector(self, values: Sequence[float]) -> list[float]:
        return self._summed(values).tolist()

    def mean_vector(self, values: Sequence[float]) -> list[float]:
        return (self._summed(values) / self.size).tolist()

    def _summed(self, values: Sequence[float]) -> torch.Tensor:
        tensor = torch.tensor(list(values), dtype=torch.float32).to(self._device)
        dist.all_reduce(tensor)
        return tensor.cpu()

    def mean_tensor(self, values: torch.Tensor) -> torch.Tensor:
        summed = values.clone()
        dist.all_reduce(summed)
        return summed / self.size

    def gather(self, value: Any) -> list[Any]:
        encoded = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self._device)
        sizes = [torch.zeros(1, dtype=torch.int32).to(self._device) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([encoded.numel()], dtype=torch.int32).to(self._device))
        lengths = [int(size.cpu()) for size in sizes]
        padded = torch.zeros(max(lengths), dtype=torch.uint8).to(self._device)
        padded[: encoded.numel()] = encoded
        parts = [torch.zeros_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return [json.loads(bytes(p.cpu()[:n].tolist())) for p, n in zip(parts, lengths, strict=True)]

    def broadcast_tensors(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            dist.broadcast(tensor, 0)

    def broadcast(self, value: Any) -> Any:
        return self.gather(value if self.is_main else None)[0]


def world_size() -> int:
    """Number of processes that the launcher started; 1 without a launcher.

    Raises:
        BackendError: see :func:`portbev.launcher.launch`.
    """
    return launch().size


def first_to_report(text: str) -> bool:
    """Whether no other process of this launch has reported ``text`` yet, so that a message is printed once.

    It uses the launcher's store, which needs no process group. Of processes that SLURM or MPI started, the first one
    has the store. Without a store the result is always true.
    """
    try:
        started = launch()
    except BackendError:  # it is what there is to say
        return True
    if started.size == 1 or "MASTER_ADDR" not in os.environ:
        return True
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    key = f"portbev/said/{attempt}/{hashlib.sha256(text.encode()).hexdigest()}"
    hosting = started.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = dist.TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=hosting,
            wait_for_workers=False,
            multi_tenant=hosting,
            timeout=timedelta(seconds=_PATIENCE),
        )
        is_first = store.add(key, 1) == 1
        if hosting:
            _wait_for_the_others(store, key, started.size)
        return is_first
    except (RuntimeError, ValueError, KeyError, OSError):
        return True


def _wait_for_the_others(store: dist.Store, key: str, size: int) -> None:
    """Keep the store, which ends with this process, until all have asked whether they are the first."""
    deadline = time.monotonic() + _PATIENCE
    while store.add(key, 0) < size and time.monotonic() < deadline:
        time.sleep(0.05)


def local_rank(backend: Backend) -> int:
    """Index of the device of this process."""
    return launch().local_rank % max(1, backend.device_count())


@contextmanager
def join(backend: Backend) -> Iterator[Comm]:
    """Join the processes that the launcher started, over ``backend.collective``. One process needs no group.

    Raises:
        BackendError: this torch lacks these collectives, or the other processes do not answer.
    """
    if world_size() == 1:
        yield Comm()
        return
    if dist.is_initialized():  # the calling program owns the group
        yield Group(backend)
        return
    _LEFT.clear()
    try:
        _init_group(backend.collective, timedelta(minutes=30))
    except (RuntimeError, ValueError, KeyError) as error:
        what = f"cannot join {world_size()} processes over {backend.collective}: {' '.join(str(error).split())[:300]}"
        raise BackendError(what, cure=_cure(what)) from error
    try:
        yield Group(backend)
    finally:
        _LEFT.append(dist.group.WORLD)
        dist.destroy_process_group()
        time.sleep(0.1)  # without Python's lock, which the group's threads need to let go of their last tensors


def _init_group(collective: str, timeout: timedelta) -> None:
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        dist.init_process_group(collective, timeout=timeout)
        return
    started = launch()
    store = store_of_agent(started.rank, started.size, timeout)
    how: Any = {"store": store, "rank": started.rank, "world_size": started.size}
    dist.init_process_group(collective, timeout=timeout, **how)


def _cure(what: str) -> str:
    if "address already in use" in what.lower() or "EADDRINUSE" in what:
        return f"Another program has port {os.environ.get('MASTER_PORT')}: set MASTER_PORT to a free one, alike in all"
    return "Start with: torchrun --nproc-per-node N -m portbev train ..."


_LEFT: list[Any] = []
"""The group that was left, kept until the next one or the end. DistributedDataParallel may outlive the group and then
drop the last reference to it: torch 2.13 holds Python's lock meanwhile and waits for a thread that may wait for it."""
