"""Runs a command of portbev in a forked process that may not do what no input should make it do."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 2 << 30
"""Bytes that a command may take beyond those of the process before it."""
SECONDS = 60.0
_CODE = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "os.startfile", "pty.spawn")
_NET = ("socket.connect", "socket.bind", "urllib.Request")
_CHANGES = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 1, "os.rename": 2, "os.truncate": 1, "os.chmod": 1}
_CHANGES |= {"os.link": 2, "os.symlink": 2, "shutil.rmtree": 1, "os.utime": 1}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True)
class Verdict:
    """What became of a command: exit status, output, and what it did that it must not do."""

    status: int
    output: str
    faults: tuple[str, ...]
    seconds: float
    memory: int


def run_jailed(command: Sequence[str], *, cwd: Path, writable: Sequence[Path]) -> Verdict:
    """Run ``portbev COMMAND`` with the working directory ``cwd``; only files below ``writable`` may change."""
    log, report = cwd / "output.txt", cwd / "faults.txt"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(command, cwd, [*writable, cwd], log, report)
    status, usage = _wait(child, started + SECONDS)
    output = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    faults = report.read_text(encoding="utf-8").splitlines() if report.is_file() else []
    memory = 0 if usage is None else usage.ru_maxrss * 1024 - _resident()
    return Verdict(status, output, tuple(faults + _judge(status, output)), time.monotonic() - started, memory)


def _judge(status: int, output: str) -> list[str]:
    faults = []
    if status == -signal.SIGKILL:
        faults.append(f"did not end within {SECONDS:.0f} s")
    elif status not in (0, 2):
        faults.append(f"exit status {status}")
    if "Traceback (most recent call last)" in output:
        faults.append("a traceback")
    if "Warning:" in output:
        faults.append("a warning of Python")
    if status == 2 and not output.strip():
        faults.append("refused without a word")
    return faults


def _wait(child: int, until: float) -> tuple[int, Any]:
    """Exit status (negative: the signal) and resources of the child, which is killed when its time is up."""
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            return os.waitstatus_to_exitcode(status), usage
        time.sleep(0.005)


def _child(command: Sequence[str], cwd: Path, writable: Sequence[Path], log: Path, report: Path) -> None:
    """Does not return."""
    status = 99
    try:
        os.chdir(cwd)
        os.environ["TMPDIR"] = str(cwd)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        limit = _virtual() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.dont_write_bytecode = True
        _watch([path.resolve() for path in writable], os.open(report, os.O_WRONLY | os.O_CREAT, 0o644))
        from portbev.cli import main

        status = main(list(command))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _watch(writable: Sequence[Path], report: int) -> None:
    """Write a line to ``report`` for each start of another program and each change outside ``writable``."""
    allowed = tuple(
        map(str, [*writable, "/dev/null", "/dev/shm", f"/proc/{os.getpid()}/clear_refs", "/proc/self/clear_refs"])
    )

    def outside(path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False  # a descriptor
        return not os.path.realpath(os.fsdecode(path)).startswith(allowed)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and outside(path):
                os.write(report, f"opened to write: {path}\n".encode())
            return
        program = (event in _CODE or event in _NET) and not _is_own(arguments)
        if program or (event in _CHANGES and any(outside(path) for path in arguments[: _CHANGES[event]])):
            os.write(report, f"{event}: {arguments[:2]}\n".encode())

    sys.addaudithook(hook)


def _is_own(arguments: tuple[Any, ...]) -> bool:
    """Whether a program is one that commands start anyway: workers, and what asks for the machine's name and fonts."""
    words = arguments[1] if len(arguments) > 1 and isinstance(arguments[1], list) else []
    return words[:1] in (["uname"], ["fc-list"]) or words[1:3] == ["-m", "portbev.data.pool"]


def _virtual() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
