"""Processes that train together.

One process needs no process group: :func:`join` gives it a :class:`Comm` of size 1 whose methods return their values.
Several processes are started by ``torchrun``, which sets RANK, WORLD_SIZE and LOCAL_RANK, or by SLURM or MPI (see
:mod:`portbev.launcher`).
"""

from __future__ import annotations

import contextlib
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
from portbev.launcher import Launch, launch
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


def tell_once(text: str | None, say: Callable[[], None]) -> None:
    """Call ``say``, which tells ``text``, unless another process of this launch has the same to tell.

    Nobody leaves before it is told: torchrun ends all as soon as one has left. It uses the launcher's store, which
    needs no process group. Of processes that SLURM or MPI started, the first one has the store. Without one all tell.

    Args:
        text: None: another process has it to tell, see :class:`EchoedError`.
    """
    try:
        started = launch()
    except BackendError:  # it is what there is to say
        started = Launch()
    is_mine = text is not None
    hosting = started.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    prefix = f"portbev/said/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    store: dist.Store | None = None
    with contextlib.suppress(RuntimeError, ValueError, OSError):
        if started.size > 1 and "MASTER_ADDR" in os.environ:
            store = _store(int(os.environ.get("MASTER_PORT", "")), hosting=hosting)
            is_mine = is_mine and store.add(f"{prefix}/{hashlib.sha256(str(text).encode()).hexdigest()}", 1) == 1
    if is_mine:
        say()
    if store is None:
        return
    with contextlib.suppress(RuntimeError):
        if is_mine:
            store.set(f"{prefix}/told", "1")
        store.add(f"{prefix}/came", 1)
        _wait(lambda: store.check([f"{prefix}/told"]))
        if hosting:  # the store ends with this process
            _wait(lambda: store.add(f"{prefix}/came", 0) >= started.size)


def _store(port: int, *, hosting: bool) -> dist.Store:
    return dist.TCPStore(
        os.environ["MASTER_ADDR"],
        port,
        is_master=hosting,
        wait_for_workers=False,
        multi_tenant=hosting,
        timeout=timedelta(seconds=_PATIENCE),
    )


def _wait(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not met() and time.monotonic() < deadline:
        time.sleep(0.02)


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
