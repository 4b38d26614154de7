"""One writer at a time for a run directory.

A lock file names its owner for people; what counts on one machine is the operating system's lock on that file, which
ends with the process however it dies. Shared file systems do not always pass locks on from machine to machine, so an
owner also touches the file every few seconds: one that another machine left is taken over when nobody has touched it
for a while. So no lock outlives its owner, and a directory that was copied from elsewhere is free.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from portbev.errors import PortbevError
from portbev.files import parse_json
from portbev.runs.layout import LOCK

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_HELD = (errno.EACCES, errno.EAGAIN)
_TOUCHED_EVERY, _DEAD_AFTER = 3.0, 15.0  # seconds


class RunLock:
    """The lock of the run directory ``folder``, which must exist.

    Attributes:
        note: what was unusual when it was taken; empty if nothing was.
    """

    _mine: ClassVar[set[Path]] = set()  # the system's locks do not hold inside a process

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LOCK
        self.note = ""
        self._descriptor: int | None = None
        self._released = threading.Event()

    def acquire(self) -> None:
        """Take the lock; where its last owner died, take it over with a note.

        Raises:
            PortbevError: another process has it, or the folder cannot be written.
        """
        while True:
            try:
                descriptor = self._open_locked()
            except OSError as error:
                raise PortbevError(f"cannot be locked: {error.strerror or error}", where=str(self.path)) from error
            before = _owner(os.pread(descriptor, 4096, 0))
            is_foreign = bool(before) and (bool(self.note) or not before.endswith(f" on {socket.gethostname()}"))
            if not is_foreign or self._is_dead(descriptor, before):
                break
            os.close(descriptor)
        if before:
            said = f"{before} left the directory without ending its work; taken over"
            self.note = f"{self.note}; {said}" if self.note else said
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
        self._descriptor = descriptor
        RunLock._mine.add(self._key)
        self._released.clear()
        self._toucher = threading.Thread(target=_touch, args=(descriptor, self._released), daemon=True)
        self._toucher.start()

    def release(self) -> None:
        """Give the lock back and remove its file; without the lock, nothing."""
        if self._descriptor is not None:
            self._released.set()
            self._toucher.join()
            self.path.unlink(missing_ok=True)  # before the lock ends: whoever waits would take a file that is gone
            os.close(self._descriptor)
            self._descriptor = None
            RunLock._mine.discard(self._key)

    def __enter__(self) -> RunLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def _key(self) -> Path:
        return self.folder.resolve()

    def _open_locked(self) -> int:
        """A descriptor of the lock file, locked."""
        if self._key in RunLock._mine:
            raise self._taken(f"process {os.getpid()} on {socket.gethostname()}")
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if fcntl is not None:
                    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_file(self.path, descriptor):
                    return descriptor
            except OSError as error:
                if error.errno in _HELD:
                    owner = _owner(os.pread(descriptor, 4096, 0)) or "another process"
                    os.close(descriptor)
                    raise self._taken(owner) from error
                self.note = f"this file system has no locks ({error.strerror}): start no second process on this run"
                return descriptor
            os.close(descriptor)  # its owner removed it between our opening and our locking it

    def _is_dead(self, descriptor: int, owner: str) -> bool:
        """Whether nobody touches the file any more, for an owner of whom the system's locks need not know.

        False when it ended well in the meantime and removed the file.

        Raises:
            PortbevError: the owner lives.
        """
        touched = os.fstat(descriptor).st_mtime
        deadline = time.monotonic() + _DEAD_AFTER - max(0.0, self._file_system_time() - touched)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            if not _is_file(self.path, descriptor):
                return False
            if os.stat(self.path).st_mtime != touched:
                os.close(descriptor)
                raise self._taken(owner)
        return True

    def _file_system_time(self) -> float:
        """The clock by which the folder's files are dated."""
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".time.", suffix=".part") as file:
            return os.fstat(file.fileno()).st_mtime

    def _taken(self, owner: str) -> PortbevError:
        what = f"{owner} is writing into this directory"
        return PortbevError(what, where=str(self.folder), cure="Wait for it, stop it, or choose another --out")


def _owner(content: bytes) -> str:
    """Whom a lock file names; empty where it names nobody."""
    try:
        named = parse_json(content)
        return f"process {int(named['pid'])} on {named['host']}"
    except (ValueError, KeyError, TypeError):
        return ""


def _touch(descriptor: int, released: threading.Event) -> None:
    """Show others that the owner lives, until it gives the lock back."""
    while not released.wait(_TOUCHED_EVERY):
        with contextlib.suppress(OSError):
            os.utime(descriptor)


def _is_file(path: Path, descriptor: int) -> bool:
    """Whether ``descriptor`` is still the file at ``path``."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
