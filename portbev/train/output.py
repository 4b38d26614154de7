"""The output directory of a run: whether it may be used, and that no other process uses it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from portbev.comm import Comm
from portbev.errors import PortbevError
from portbev.files import prepare_folder
from portbev.runs import load_run
from portbev.runs.layout import CHECKPOINTS, RUN, SCALARS
from portbev.runs.lock import RunLock
from portbev.runs.scalars import read_scalars


@contextmanager
def claimed(out: Path, comm: Comm, *, resume: bool) -> Iterator[str]:
    """Hold the directory ``out`` for this run; yields what was unusual about taking it.

    Folders that were made for it and stay empty, because the run could not begin, are removed again.

    Raises:
        PortbevError: it cannot be written, another process trains into it, or it holds a run that is not resumed.
    """
    lock = RunLock(out)
    made: list[Path] = []

    def claim() -> str:
        made.extend(folder for folder in (out, *out.parents) if not folder.exists())
        prepare_folder(out)
        lock.acquire()
        if not resume and _holds_run(out):
            cure = "Continue it with --resume, or choose another output with --out"
            raise PortbevError("holds a run already", where=str(out), cure=cure)
        return lock.note

    try:
        yield comm.on_main(claim)
    finally:
        lock.release()
        with suppress(OSError):  # the first that is not empty
            for folder in made:
                folder.rmdir()


def _holds_run(out: Path) -> bool:
    """Whether there is a run that would be lost; not one that failed before its first step."""
    if (out / CHECKPOINTS).exists():
        return True
    if not (out / RUN).exists():
        return False
    return bool(read_scalars(out / SCALARS)) or load_run(out).status != "failed"
