"""The index of an archive: a database in the cache that says where each file lies, read with bounded memory."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from portbev.data.archives.deflate import Point

FORMAT = 1
"""Version of the database; increase it whenever its tables change their meaning."""

STORED, DEFLATED, IN_STREAM = 0, 8, -1
"""How a file is kept: as it is, compressed by itself, or in a stream that is compressed as a whole."""

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE files (folder TEXT, name TEXT, place INTEGER, size INTEGER, crc INTEGER, time INTEGER, method INTEGER,
                    packed INTEGER, PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE TABLE folders (parent TEXT, name TEXT, PRIMARY KEY (parent, name)) WITHOUT ROWID;
CREATE TABLE links (folder TEXT, name TEXT, target TEXT, PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE TABLE points (place INTEGER PRIMARY KEY, packed INTEGER, bits INTEGER, window BLOB);
"""


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        folder, name: its path.
        place: of its first byte: in the archive, or in the stream that the archive compresses.
        size, crc: bytes, and their CRC-32.
        time: of its last change, seconds since 1970.
        method: STORED, DEFLATED or IN_STREAM.
        packed: bytes in the archive, if DEFLATED.
    """

    folder: str
    name: str
    place: int
    size: int
    crc: int
    time: int
    method: int
    packed: int = 0


class Index:
    """A finished index, for reading. Each thread of each process opens the database anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]

    @property
    def _database(self) -> sqlite3.Connection:
        if getattr(self._local, "process", None) != os.getpid():
            uri = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
            self._local.connection = sqlite3.connect(uri, uri=True)
            self._local.process = os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection

    def fact(self, name: str) -> Any:
        """What is written under a name; None if nothing is."""
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def member(self, path: str) -> Member | None:
        """The file with this path."""
        folder, _, name = path.rpartition("/")
        row = self._database.execute("SELECT * FROM files WHERE folder = ? AND name = ?", (folder, name)).fetchone()
        return None if row is None else Member(*row)

    def has_folder(self, path: str) -> bool:
        """Whether there is such a folder; the top is one."""
        folder, _, name = path.rpartition("/")
        query = "SELECT 1 FROM folders WHERE parent = ? AND name = ?"
        return not path or self._database.execute(query, (folder, name)).fetchone() is not None

    def members(self, folder: str) -> list[Member]:
        """The files in a folder, by name."""
        return [Member(*row) for row in self._database.execute("SELECT * FROM files WHERE folder = ?", (folder,))]

    def folders(self, parent: str) -> list[str]:
        """Names of the folders in a folder."""
        return [name for (name,) in self._database.execute("SELECT name FROM folders WHERE parent = ?", (parent,))]

    def every(self, top: str = "") -> Iterator[Member]:
        """Every file in a folder and the folders in it, by folder and name."""
        query, inside = "SELECT * FROM files", tuple[str, ...]()
        if top:
            query, inside = f"{query} WHERE folder = ? OR (folder > ? AND folder < ?)", (top, f"{top}/", f"{top}0")
        yield from map(Member._make, self._database.execute(f"{query} ORDER BY folder, name", inside))

    def count(self) -> int:
        """Number of files."""
        return int(self._database.execute("SELECT COUNT(*) FROM files").fetchone()[0])

    def point(self, place: int) -> Point | None:
        """The last place of the compressed stream that is not after ``place``."""
        query = "SELECT * FROM points WHERE place <= ? ORDER BY place DESC LIMIT 1"
        row = self._database.execute(query, (place,)).fetchone()
        return None if row is None else Point(*row)


class Writer:
    """An index that is being made. What was committed is found again after an interruption."""

    def __init__(self, path: Path, identity: list[int]) -> None:
        self.path = path
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode = DELETE")
        self._database.execute("PRAGMA cache_size = -8192")  # kilobytes
        tables = self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
        self._identity = [FORMAT, *identity]
        if not tables or self.fact("identity") != self._identity:
            self.restart()

    def restart(self) -> None:
        """Forget everything but which archive it is."""
        names = [name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        self._database.executescript("".join(f"DROP TABLE {name};" for name in names) + _TABLES)
        self.set("identity", self._identity)

    def fact(self, name: str) -> Any:
        try:
            row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        except sqlite3.OperationalError:  # a database of something else
            return None
        return None if row is None else json.loads(row[0])

    def set(self, name: str, value: Any) -> None:
        self._database.execute("REPLACE INTO facts VALUES (?, ?)", (name, json.dumps(value)))

    def add(self, members: Iterable[Member]) -> None:
        """Add files; of several with one path the last one counts, as it does in unpacking."""
        for member in members:
            self._database.execute("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", member)
            self.add_folder(member.folder)

    def add_folder(self, path: str) -> None:
        """Add a folder and those that it is in."""
        while path:
            parent, _, name = path.rpartition("/")
            done = self._database.execute("INSERT OR IGNORE INTO folders VALUES (?, ?)", (parent, name))
            if not done.rowcount:
                return
            path = parent

    def add_link(self, folder: str, name: str, target: str) -> None:
        """Add a second name of a file, which may come later."""
        self._database.execute("REPLACE INTO links VALUES (?, ?, ?)", (folder, name, target))
        self.add_folder(folder)

    def add_points(self, points: Iterable[Point]) -> None:
        self._database.executemany("INSERT OR IGNORE INTO points VALUES (?, ?, ?, ?)", points)

    def last_point(self, place: int) -> Point | None:
        query = "SELECT * FROM points WHERE place <= ? ORDER BY place DESC LIMIT 1"
        row = self._database.execute(query, (place,)).fetchone()
        return None if row is None else Point(*row)

    def resolve_links(self) -> int:
        """Give links the place of their files; returns how many have none."""
        links = {(folder, name): target for folder, name, target in self._database.execute("SELECT * FROM links")}
        lost = 0
        for (folder, name), first in links.items():
            target, seen = first, 0
            while (key := (target.rpartition("/")[0], target.rpartition("/")[2])) in links and seen < 8:
                target, seen = links[key], seen + 1
            query = "SELECT * FROM files WHERE folder = ? AND name = ?"
            row = self._database.execute(query, key).fetchone()
            if row is None:
                lost += 1
            else:
                self.add([Member(*row)._replace(folder=folder, name=name)])
        return lost

    def commit(self) -> None:
        self._database.commit()

    def close(self) -> None:
        self._database.close()


@contextmanager
def writing(path: Path, identity: list[int]) -> Iterator[Writer]:
    """A writer that is closed at the end; what was not committed is lost."""
    writer = Writer(path, identity)
    try:
        yield writer
    finally:
        writer.close()
