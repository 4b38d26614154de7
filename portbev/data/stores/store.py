"""A tree of files that is not in the file system, and the paths in it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol

READ_AHEAD = 1 << 20
"""Bytes that an open file reads at a time, at least."""


@dataclass(frozen=True)
class Entry:
    """A file or a folder of a store.

    Attributes:
        name: without its folder.
        is_dir: whether it is a folder.
        st_size: bytes of a file.
        st_mtime_ns: nanoseconds since 1970; 0 if unknown.
        place: what the store needs to find its bytes.
    """

    name: str
    is_dir: bool = False
    st_size: int = 0
    st_mtime_ns: int = 0
    place: Any = None


class Store(Protocol):
    """A tree of files, read only. It survives a fork and pickling: what it holds open, it opens in each process anew.

    Paths are relative to its top, with ``/``; the top itself is the empty text.

    Attributes:
        notes: what was passed over or read in another way than usual, a line each.
    """

    notes: list[str]

    def find(self, path: str) -> Entry | None:
        """The file or folder with this path; None if there is none."""
        ...

    def entries(self, path: str) -> Sequence[Entry]:
        """What is in a folder; nothing where there is no such folder."""
        ...

    def read(self, path: str, entry: Entry, offset: int, size: int) -> bytes:
        """``size`` bytes of a file from ``offset`` on; ``entry`` is what :meth:`find` said of it.

        Raises:
            DataError: the bytes are not what they were, or cannot be had.
        """
        ...

    def shown(self, path: str) -> str:
        """A path as a person would find it, for messages; the top is text that opens the root again."""
        ...


class StorePath:
    """A path in a store; reads as a :class:`pathlib.Path` does (see :class:`portbev.paths.DataPath`)."""

    __slots__ = ("_path", "store")

    def __init__(self, store: Store, path: str = "") -> None:
        self.store, self._path = store, path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> StorePath:
        return StorePath(self.store, self._path.rpartition("/")[0])

    def __truediv__(self, name: str) -> StorePath:
        parts: list[str] = []
        for part in f"{self._path}/{name}".split("/"):
            if part == "..":
                del parts[-1:]
            elif part not in ("", "."):
                parts.append(part)
        return StorePath(self.store, "/".join(parts))

    def __str__(self) -> str:
        return self.store.shown(self._path)

    def __repr__(self) -> str:
        return f"StorePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StorePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(self._path)

    def __lt__(self, other: StorePath) -> bool:
        return self._path < other._path

    def exists(self) -> bool:
        return self.store.find(self._path) is not None

    def is_file(self) -> bool:
        entry = self.store.find(self._path)
        return entry is not None and not entry.is_dir

    def is_dir(self) -> bool:
        entry = self.store.find(self._path)
        return entry is not None and entry.is_dir

    def iterdir(self) -> Iterator[StorePath]:
        """What is in this folder.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        if not self.is_dir():
            raise FileNotFoundError(2, "No such folder", str(self))
        for entry in self.store.entries(self._path):
            yield StorePath(self.store, f"{self._path}/{entry.name}" if self._path else entry.name)

    def stat(self) -> Entry:
        """Size and time.

        Raises:
            FileNotFoundError: there is no such file.
        """
        entry = self.store.find(self._path)
        if entry is None:
            raise FileNotFoundError(2, "No such file", str(self))
        return entry

    def resolve(self) -> StorePath:
        return self

    def open(self, mode: Literal["rb"]) -> io.BufferedReader:
        """The file, seekable.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return io.BufferedReader(_Reader(self.store, self._path, self._file()), READ_AHEAD)

    def read_bytes(self) -> bytes:
        entry = self._file()
        return self.store.read(self._path, entry, 0, entry.st_size)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        with io.TextIOWrapper(io.BytesIO(self.read_bytes()), encoding or "utf-8", errors) as text:  # line ends as Path
            return text.read()

    def _file(self) -> Entry:
        entry = self.stat()
        if entry.is_dir:
            raise IsADirectoryError(21, "Is a folder", str(self))
        return entry


class _Reader(io.RawIOBase):
    """A file of a store that is being read."""

    def __init__(self, store: Store, path: str, entry: Entry) -> None:
        self._store, self._path, self._entry, self._at = store, path, entry, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.st_size}[whence]
        if start + offset < 0:
            raise ValueError("before the start of the file")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        size = max(0, min(len(buffer), self._entry.st_size - self._at))
        if size:
            buffer[:size] = self._store.read(self._path, self._entry, self._at, size)
            self._at += size
        return size
