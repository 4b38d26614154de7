"""Requests that wait for the model, computed together where they have the same sizes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

Compute = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
"""From samples and what the model remembers for each to a result for each; runs on a thread of its own."""


@dataclass
class _Job:
    sample: Any
    state: Any
    sizes: Any
    since: float
    result: asyncio.Future[Any]


class Batcher:
    """Gives waiting samples to the model, up to ``most`` at a time, in the order in which they came.

    The first of a batch waits up to ``wait`` seconds for others; samples of other sizes wait for a batch of their own.
    A batch that fails is computed again one by one, so that each sample's error is its own.

    Args:
        computed: told the size of each batch and the seconds that it took.
    """

    def __init__(
        self, compute: Compute, *, most: int, wait: float, computed: Callable[[int, float], None] = lambda *_: None
    ) -> None:
        self._compute, self._most, self._wait, self._computed = compute, most, wait, computed
        self._jobs: deque[_Job] = deque()
        self._came = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to compute, on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; what still waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for job in self._jobs:
            job.result.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def __len__(self) -> int:
        """How many samples wait."""
        return len(self._jobs)

    def submit(self, sample: Any, state: Any = None) -> asyncio.Future[Any]:
        """The result of a sample, to come. Cancel it where nobody waits for it any more."""
        result = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(sample, state, sizes_of(sample), time.monotonic(), result))
        self._came.set()
        return result

    async def _run(self) -> None:
        while True:
            await self._came.wait()
            await self._gather()
            batch = self._take()
            if batch:
                await self._serve(batch)
            if not self._jobs:
                self._came.clear()

    async def _gather(self) -> None:
        """Wait until there are enough for a batch, or the first has waited long enough."""
        while self._jobs and len(self._jobs) < self._most:
            left = self._jobs[0].since + self._wait - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, 0.002))

    def _take(self) -> list[_Job]:
        """The next batch: the first sample that somebody waits for, and others of its sizes."""
        waiting = [job for job in self._jobs if not job.result.done()]
        batch = [job for job in waiting if job.sizes == waiting[0].sizes][: self._most] if waiting else []
        chosen = set(map(id, batch))
        self._jobs = deque(job for job in waiting if id(job) not in chosen)
        return batch

    async def _serve(self, batch: list[_Job]) -> None:
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        try:
            results = await loop.run_in_executor(
                self._thread, self._compute, [job.sample for job in batch], [job.state for job in batch]
            )
        except Exception as error:
            if len(batch) > 1:
                for job in batch:
                    await self._serve([job])
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
            return
        self._computed(len(batch), time.monotonic() - started)
        for job, result in zip(batch, results, strict=True):
            if not job.result.done():
                job.result.set_result(result)


def sizes_of(sample: Any) -> Any:
    """What must agree for samples to be put into one batch: shapes and types of arrays, and other values of a kind."""
    if isinstance(sample, np.ndarray):
        return sample.shape, str(sample.dtype)
    if isinstance(sample, dict):
        return tuple((key, sizes_of(value)) for key, value in sample.items())
    if isinstance(sample, (tuple, list)):
        return tuple(map(sizes_of, sample))
    return type(sample).__name__
