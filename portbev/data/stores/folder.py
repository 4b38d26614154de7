"""A folder as one of several stores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from portbev.data.stores.store import Entry


class Folder:
    """The files of a folder, but those at its top that ``hidden`` names (the archives that are read in place)."""

    def __init__(self, path: Path, hidden: frozenset[str] = frozenset()) -> None:
        self.path, self.hidden, self.notes = path, hidden, list[str]()

    def find(self, path: str) -> Entry | None:
        if path in self.hidden:
            return None
        try:
            state = os.stat(self.path / path)
        except (OSError, ValueError):  # ValueError: a name that no file can have
            return None
        is_dir = os.path.isdir(self.path / path)
        return Entry(path.rpartition("/")[2], is_dir, state.st_size, state.st_mtime_ns)

    def entries(self, path: str) -> Sequence[Entry]:
        try:
            with os.scandir(self.path / path) as found:
                names = [(entry.name, entry.is_dir(), entry.stat()) for entry in found]
        except (OSError, ValueError):
            return []
        shown = [row for row in names if path or row[0] not in self.hidden]
        return [Entry(name, is_dir, state.st_size, state.st_mtime_ns) for name, is_dir, state in shown]

    def read(self, path: str, entry: Entry, offset: int, size: int) -> bytes:
        with open(self.path / path, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def shown(self, path: str) -> str:
        return str(self.path / path)
