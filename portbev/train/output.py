"""The output directory of a run: whether it may be used, and that no other process uses it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from portbev.comm import Comm
from portbev.errors import PortbevError
from portbev.files import prepare_folder
from portbev.launcher import agent
from portbev.runs import load_run
from portbev.runs.layout import CHECKPOINTS, RUN, SCALARS
from portbev.runs.lock import RunLock
from portbev.runs.scalars import read_scalars


@dataclass(frozen=True)
class Claim:
    """A directory that is this run's.

    Attributes:
        resume: whether the run in it is continued, because that was asked for or torchrun started the processes again.
        note: what was unusual about taking it; empty if nothing was.
    """

    resume: bool
    note: str


@contextmanager
def claimed(out: Path, comm: Comm, *, resume: bool) -> Iterator[Claim]:
    """Hold the directory ``out`` for this run.

    Folders that were made for it and stay empty, because the run could not begin, are removed again.

    Raises:
        PortbevError: it cannot be written, another process trains into it, it holds a run that is not resumed, or one
            that is resumed and other machines do not see.
    """
    lock = RunLock(out)
    made: list[Path] = []
    agents = comm.gather(agent())

    def claim() -> list[str | bool]:
        made.extend(folder for folder in (out, *out.parents) if not folder.exists())
        prepare_folder(out)
        lock.acquire()
        goes_on = resume or _began_by(out, agents)
        if not goes_on and _holds_run(out):
            cure = "Continue it with --resume, or choose another output with --out"
            raise PortbevError("holds a run already", where=str(out), cure=cure)
        return [goes_on, lock.note]

    try:
        goes_on, note = comm.on_main(claim)
        if goes_on:
            _check_seen_by_all(out, comm)
        yield Claim(goes_on, note)
    finally:
        lock.release()
        with suppress(OSError):  # the first that is not empty
            for folder in made:
                folder.rmdir()


def _began_by(out: Path, agents: list[str | None]) -> bool:
    """Whether the run in ``out`` was begun by a torchrun that has started this process too."""
    if not (out / RUN).is_file() or not any(agents):
        return False
    return not set(load_run(out).record.agents).isdisjoint(one for one in agents if one is not None)


def _check_seen_by_all(out: Path, comm: Comm) -> None:
    """Raise a PortbevError where only some machines see the run: each process reads its checkpoint."""
    steps = sorted(path.name for path in out.glob(f"{CHECKPOINTS}/step_*"))
    seen = comm.gather([socket.gethostname(), (out / RUN).is_file(), steps])
    for host, *found in seen:
        if found != seen[0][1:]:
            what = f"{host} does not see the run that {seen[0][0]} sees there"
            cure = "Continue it in a folder that all machines share, or copy it to the same place on each"
            raise PortbevError(what, where=str(out), cure=cure)


def _holds_run(out: Path) -> bool:
    """Whether there is a run that would be lost; not one that failed before its first step."""
    if (out / CHECKPOINTS).exists():
        return True
    if not (out / RUN).exists():
        return False
    return bool(read_scalars(out / SCALARS)) or load_run(out).status != "failed"
