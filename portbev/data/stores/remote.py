"""A folder behind a URL, read with fsspec (``s3://``, ``gs://``, ``https://``, ``memory://``, chains with a cache)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from portbev.data.stores.store import Entry
from portbev.errors import DataError, PortbevError

MANIFEST = "portbev_files.txt"
"""Where a server lists no folders: a file at the top of the root with a line ``SIZE PATH`` for each file."""
_UNKNOWN = -1  # size of a file that the listing does not tell


class Remote:
    """The files behind a URL. Each folder is listed once in each process, and files are read whole or in parts.

    Args:
        url: as fsspec takes it; options of a protocol come from its configuration (``FSSPEC_S3_...``).

    Raises:
        PortbevError: fsspec, or the package of the protocol, is not installed.
        DataError: there is no such folder, or it cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self.url, self.notes = url.rstrip("/") if not url.endswith("://") else url, list[str]()
        self._local = threading.local()
        self._listed: dict[str, dict[str, Entry]] = {}
        self._manifest = self._read_manifest()
        if self._manifest:
            self._listed = self._manifest
        elif not self._list(""):
            cure = f"Check the URL. A server that lists no folders needs a file {MANIFEST} there (docs/archives.md)"
            raise DataError("no such folder, or nothing in it", where=url, cure=cure)

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "notes": self.notes, "_manifest": self._manifest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local(), _listed=dict(state["_manifest"]))

    def find(self, path: str) -> Entry | None:
        if not path:
            return Entry("", is_dir=True)
        folder, _, name = path.rpartition("/")
        entry = self._list(folder).get(name)
        if entry is not None and entry.st_size == _UNKNOWN and not entry.is_dir:
            with _errors(self.shown(path)):
                system, top = self._system()
                size = system.info(f"{top}/{path}")["size"]
            entry = self._listed[folder][name] = replace(entry, st_size=int(size or 0))
        return entry

    def entries(self, path: str) -> Sequence[Entry]:
        return list(self._list(path).values())

    def read(self, path: str, entry: Entry, offset: int, size: int) -> bytes:
        """See :class:`portbev.data.stores.store.Store`."""
        whole = offset == 0 and size == entry.st_size
        with _errors(self.shown(path)):
            system, top = self._system()
            place = f"{top}/{path}"
            data = system.cat_file(place) if whole else system.cat_file(place, start=offset, end=offset + size)
        if len(data) < size:
            what = f"{len(data)} bytes came of {size}"
            raise DataError(what, where=self.shown(path), cure="It may have changed or been cut off: start again")
        return bytes(data[:size])

    def shown(self, path: str) -> str:
        return f"{self.url}/{path}" if path else self.url

    def _system(self) -> tuple[Any, str]:
        """The file system and the root in it; a process or thread that was forked makes its own."""
        here = (os.getpid(), threading.get_ident())
        if getattr(self._local, "here", None) != here:
            self._local.system = _open(self.url)
            self._local.here = here
        system: tuple[Any, str] = self._local.system
        return system

    def _list(self, folder: str) -> dict[str, Entry]:
        if folder not in self._listed:
            if self._manifest:
                return {}
            found: list[dict[str, Any]] = []
            with _errors(self.shown(folder)), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                system, top = self._system()
                found = system.ls(f"{top}/{folder}" if folder else top, detail=True)
            self._listed[folder] = {entry.name: entry for entry in map(_entry, found) if entry.name}
        return self._listed[folder]

    def _read_manifest(self) -> dict[str, dict[str, Entry]]:
        """The folders that a manifest lists; none where there is none."""
        where = self.shown(MANIFEST)
        try:
            with _errors(where):
                system, top = self._system()
                text = system.cat_file(f"{top}/{MANIFEST}").decode()
        except FileNotFoundError:
            return {}
        listed: dict[str, dict[str, Entry]] = {"": {}}
        for number, line in enumerate(text.splitlines(), 1):
            size, _, path = line.strip().partition(" ")
            path = path.strip().removeprefix("./")
            if not size.isdigit() or not path:
                raise DataError(f"line {number} is not SIZE PATH", where=where, cure="See docs/archives.md")
            folder, _, name = path.rpartition("/")
            listed.setdefault(folder, {})[name] = Entry(name, False, int(size))
            while folder:
                parent, _, name = folder.rpartition("/")
                listed.setdefault(parent, {}).setdefault(name, Entry(name, is_dir=True))
                folder = parent
        return listed


def _open(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise PortbevError("URLs need a package that is not installed", where=url, cure=_CURE) from error
    try:
        system, top = fsspec.core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
    except ImportError as error:
        protocol = url.partition("://")[0]
        what = f"{protocol}:// needs a package that is not installed: {error}"
        raise PortbevError(what, where=url, cure=_CURE) from error
    except (ValueError, OSError) as error:
        raise DataError(f"cannot be opened: {error}", where=url, cure="Check the URL") from error
    return system, str(top).rstrip("/")


_CURE = "pip install 'portbev[remote]', and for s3:// s3fs, for gs:// gcsfs"


@contextlib.contextmanager
def _errors(where: str) -> Iterator[None]:
    """What a server or a network says, in a line; a file that is not there stays what it is."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, PortbevError):
        raise
    except Exception as error:  # each protocol has exceptions of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        cure = "Check the network, the URL and the credentials of its protocol"
        raise DataError(f"cannot be read ({reason})", where=where, cure=cure) from error


def _entry(info: dict[str, Any]) -> Entry:
    name = PurePosixPath(str(info["name"]).rstrip("/").partition("?")[0]).name
    changed = info.get("LastModified") or info.get("mtime") or info.get("created")
    time = changed.timestamp() if isinstance(changed, datetime) else changed
    nanoseconds = int(float(time) * 1e9) if isinstance(time, (int, float)) else 0
    is_dir = info.get("type") == "directory" or str(info["name"]).endswith("/")
    return Entry(name, is_dir, info["size"] if isinstance(info.get("size"), int) else _UNKNOWN, nanoseconds)
