"""An archive as a tree of files, read by its index."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from portbev.data.archives import tars, zips
from portbev.data.archives.deflate import inflate
from portbev.data.archives.index import IN_STREAM, STORED, Index, Member, writing
from portbev.data.cache import cache_folder
from portbev.data.progress import Progress
from portbev.data.stores.store import Entry
from portbev.errors import DataError

GZIP, ZIP = b"\x1f\x8b", b"PK"
_CACHE = "PORTBEV_CACHE can name another folder for indexes"


class Archive:
    """The files of a tar or zip archive.

    Args:
        path: the archive.
        index: what :func:`make_index` made of it.
        top: the folder in the archive that holds the data; empty: there is none around them.
    """

    def __init__(self, path: Path, index: Index, top: str = "") -> None:
        self.path, self.index, self.top = path, index, top
        self.notes = [f"{path.name} {note}" for note in index.fact("notes") or []]
        self._is_zip = bool(index.fact("zip"))
        self._size, self._time = index.fact("identity")[-2:]
        self._file: tuple[int, int] | None = None

    def __getstate__(self) -> tuple[Path, Index, str]:
        return self.path, self.index, self.top

    def __setstate__(self, state: tuple[Path, Index, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def find(self, path: str) -> Entry | None:
        inside = self.inside(path)
        member = self.index.member(inside) if inside else None
        if member is not None:
            return _entry(member)
        return Entry(path.rpartition("/")[2], is_dir=True) if self.index.has_folder(inside) else None

    def entries(self, path: str) -> Sequence[Entry]:
        inside = self.inside(path)
        folders = [Entry(name, is_dir=True) for name in self.index.folders(inside)]
        return folders + [_entry(member) for member in self.index.members(inside)]

    def read(self, path: str, entry: Entry, offset: int, size: int) -> bytes:
        """See :class:`portbev.data.stores.store.Store`. A whole file is compared with the checksum in the index."""
        member: Member = entry.place
        try:
            data = self._read(member, offset, size)
        except (zlib.error, ValueError, OSError, sqlite3.Error) as error:
            raise self._changed(path, str(error)) from error
        if len(data) < size:
            raise self._changed(path, f"{len(data)} of {size} bytes are there")
        if size == member.size and zlib.crc32(data) != member.crc:
            raise self._changed(path, "its content is another")
        return data

    def shown(self, path: str) -> str:
        return f"{self.path}/{path}" if path else str(self.path)

    def inside(self, path: str) -> str:
        """A path as it is in the archive."""
        return f"{self.top}/{path}" if self.top and path else self.top or path

    def _read(self, member: Member, offset: int, size: int) -> bytes:
        if self._is_zip:
            return zips.read(self._opened(), member, offset, size)
        if member.method == STORED:
            return os.pread(self._opened(), size, member.place + offset)
        assert member.method == IN_STREAM
        parts, at, left = [], member.place + offset, size
        while left:  # more than once where a stream ends within the file and another follows
            point = self.index.point(at)
            part = b"" if point is None else inflate(self._opened(), point, at - point.offset, left)
            if not part:
                break
            parts.append(part)
            at, left = at + len(part), left - len(part)
        return b"".join(parts)

    def _opened(self) -> int:
        """A descriptor of the archive, opened once in each process."""
        if self._file is None or self._file[0] != os.getpid():
            file = os.open(self.path, os.O_RDONLY)
            state = os.fstat(file)
            if (state.st_size, state.st_mtime_ns) != (self._size, self._time):
                os.close(file)
                raise ValueError("the archive is not the one that was indexed")
            self._file = os.getpid(), file
        return self._file[1]

    def _changed(self, path: str, why: str) -> DataError:
        what = f"cannot be read: {why}; the archive is damaged or has changed since it was indexed"
        cure = "Start again, which indexes it anew if it has changed; if it has not, fetch it again"
        return DataError(what, where=self.shown(path), cure=cure)


def make_index(archive: Path, progress: Progress) -> Index:
    """The index of an archive from the cache, or made and written there; an interrupted one is continued.

    Several processes can call it at once: one of them makes the index, the others wait.

    Args:
        progress: is called with bytes of the archive's content that were walked through, and an estimate of them all.

    Raises:
        DataError: the archive cannot be read, is truncated or damaged; or the cache cannot be written.
        PortbevError: a package is not installed.
    """
    path, identity = index_path(archive)
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if not path.exists():
                    _make(archive, path, identity, progress)
            path.with_suffix(".lock").unlink(missing_ok=True)
        except (OSError, sqlite3.OperationalError) as error:
            full = getattr(error, "errno", 0) == errno.ENOSPC or "full" in str(error)
            what = f"cannot write the index of {archive.name}: {getattr(error, 'strerror', None) or error}"
            cure = f"Make room, or: {_CACHE}" if full else _CACHE
            raise DataError(what, where=str(path.parent), cure=cure) from error
    return Index(path)


def index_path(archive: Path) -> tuple[Path, list[int]]:
    """Where the index of an archive is or will be, and the archive's size and time, which it is for.

    Raises:
        DataError: there is no such archive.
    """
    try:
        state = archive.stat()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=str(archive), cure="Check the data root") from error
    identity = [state.st_size, state.st_mtime_ns]
    key = hashlib.sha256(json.dumps([str(archive.resolve()), *identity]).encode()).hexdigest()[:24]
    return cache_folder() / "archives" / f"{archive.name}-{key}.sqlite", identity


def _make(archive: Path, path: Path, identity: list[int], progress: Progress) -> None:
    part = path.with_suffix(".part")
    with archive.open("rb") as file:
        start = file.read(2)
    try:
        with writing(part, identity) as writer:
            if start == ZIP:
                notes = zips.walk(archive, writer)
            else:
                total = identity[0]  # of what is compressed nobody knows the size before
                notes = tars.walk(
                    archive, writer, compressed=start == GZIP, report=lambda done: progress(done, max(done, total))
                )
            writer.set("zip", start == ZIP)
            writer.set("notes", notes)
            writer.commit()
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):  # what an earlier call left is damaged
            part.unlink(missing_ok=True)
        raise sqlite3.OperationalError(str(error)) from error
    os.replace(part, path)


def _entry(member: Member) -> Entry:
    return Entry(member.name, False, member.size, member.time * 10**9, member)
