"""Runs jobs in several processes.

Unlike multiprocessing's, these processes need no ``if __name__ == "__main__"`` in the caller's script, and they inherit
neither threads nor open files.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from portbev.errors import DataError, PortbevError

Work = Callable[[Any], Any]


def run_jobs(target: str, common: Any, jobs: Sequence[Any], *, workers: int = 0) -> Iterator[tuple[int, Any]]:
    """Run every job; yields (index of the job, its result) as jobs finish.

    Args:
        target: ``module:function``. The function takes ``common`` and returns a function from a job to its result.
        common: a JSON value for all jobs.
        jobs: JSON values. Results are JSON values too.
        workers: number of processes; 0: one for each CPU that this process may use. With one, jobs run in this process.

    Raises:
        DataError: a job failed, or its process ended.
    """
    count = min(workers or cpus(), len(jobs))
    if count <= 1:
        work = _load(target)(common)
        for index, job in enumerate(jobs):
            with _one_opencv_thread():
                result = work(job)
            yield index, result
        return
    pending: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[int, Any, str]] = queue.SimpleQueue()
    for index in [*range(len(jobs)), *[None] * count]:
        pending.put(index)
    processes = [_start(target) for _ in range(count)]
    for process in processes:
        threading.Thread(target=_feed, args=(process, common, jobs, pending, finished), daemon=True).start()
    try:
        for _ in jobs:
            index, result, error = finished.get()
            if error:
                raise DataError(error, where=f"job {index + 1} of {len(jobs)}")
            yield index, result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def cpus() -> int:
    """Number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Limit OpenCV to one thread within the body, as in the other processes."""
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _load(target: str) -> Callable[[Any], Work]:
    module, _, name = target.partition(":")
    function: Callable[[Any], Work] = getattr(importlib.import_module(module), name)
    return function


def _start(target: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "portbev.data.pool", target]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _feed(
    process: subprocess.Popen[str],
    common: Any,
    jobs: Sequence[Any],
    pending: queue.SimpleQueue[int | None],
    finished: queue.SimpleQueue[tuple[int, Any, str]],
) -> None:
    """Send jobs to one process, one at a time, until none is pending or the process fails."""
    assert process.stdin and process.stdout
    first_line = f"{json.dumps(common)}\n"
    while (index := pending.get()) is not None:
        try:
            process.stdin.write(f"{first_line}{json.dumps(jobs[index])}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError) as error:
            answer = json.dumps({"error": str(error)})
        first_line = ""
        parsed = _parse_answer(answer)
        finished.put((index, parsed.get("result"), parsed.get("error", "")))
        if "error" in parsed:
            return
    process.stdin.close()


def _parse_answer(answer: str) -> dict[str, Any]:
    """A process's answer to a job. Anything that is not an answer becomes an error, so that nobody waits for one."""
    try:
        result = json.loads(answer) if answer.strip() else {"error": "its process ended"}
    except ValueError:
        result = None
    return result if isinstance(result, dict) else {"error": f"its process wrote {answer.strip()[:80]!r}"}


def main(target: str) -> None:
    """Answer jobs until stdin ends. Its first line is the value that all jobs share, each further line is a job."""
    import cv2

    cv2.setNumThreads(1)
    work: Work | None = None
    for line in sys.stdin:
        value = json.loads(line)
        try:
            if work is None:
                work = _load(target)(value)
                continue
            answer = {"result": work(value)}
        except PortbevError as error:
            answer = {"error": str(error)}
        except Exception as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            raise
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
