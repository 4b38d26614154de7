"""Jobs shared out over processes.

Not multiprocessing: these processes need no guard in the caller's script and inherit no threads and no open files.
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
    """Do every job; yields (position of the job, its result) as each is done.

    Args:
        target: ``module:function``; the function takes ``common`` and returns what takes a job and returns its result.
        common, jobs: what JSON can hold; so is a result.
        workers: processes; 0 for one per CPU that this process may use. With one, the jobs are done in this process.

    Raises:
        DataError: a job failed, or its process ended.
    """
    count = min(workers or cpus(), len(jobs))
    if count <= 1:
        work = _load(target)(common)
        for position, job in enumerate(jobs):
            with _opencv_alone():
                result = work(job)
            yield position, result
        return
    todo: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any, str]] = queue.SimpleQueue()
    for number in [*range(len(jobs)), *[None] * count]:
        todo.put(number)
    processes = [_start(target) for _ in range(count)]
    for process in processes:
        threading.Thread(target=_feed, args=(process, common, jobs, todo, done), daemon=True).start()
    try:
        for _ in jobs:
            position, result, problem = done.get()
            if problem:
                raise DataError(problem, where=f"job {position + 1} of {len(jobs)}")
            yield position, result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _opencv_alone() -> Iterator[None]:
    """One thread of OpenCV's, as in the processes."""
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
    todo: queue.SimpleQueue[int | None],
    done: queue.SimpleQueue[tuple[int, Any, str]],
) -> None:
    assert process.stdin and process.stdout
    line = json.dumps(common)
    while (number := todo.get()) is not None:
        try:
            process.stdin.write(f"{line}\n{json.dumps(jobs[number])}\n" if line else f"{json.dumps(jobs[number])}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError) as error:
            answer = json.dumps({"error": str(error)})
        line = ""
        result = _understood(answer)
        done.put((number, result.get("result"), result.get("error", "")))
        if "error" in result:
            return
    process.stdin.close()


def _understood(answer: str) -> dict[str, Any]:
    """What a worker wrote; whatever is no answer is an error, so that nobody waits for another one."""
    try:
        result = json.loads(answer) if answer.strip() else {"error": "its process ended"}
    except ValueError:
        result = None
    return result if isinstance(result, dict) else {"error": f"its process wrote {answer.strip()[:80]!r}"}


def main(target: str) -> None:
    """Serve until stdin ends: first what is common to the jobs, then a job per line."""
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
