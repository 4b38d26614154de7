"""The archives of a data root: which are read in place, where the data begin in each, and whether they agree."""

from __future__ import annotations

import hashlib
import heapq
import logging
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from portbev.data.archives.index import Index
from portbev.data.archives.names import is_archive, is_other_archive, plain
from portbev.data.archives.store import Archive, index_path, make_index
from portbev.data.cache import cache_folder
from portbev.data.pool import cpus
from portbev.data.progress import Progress, reporter
from portbev.data.stores.store import StorePath
from portbev.errors import DataError, PortbevError
from portbev.files import parse_json, write_json
from portbev.paths import DataPath

_PEEK = 8  # files of an archive that tell whether it is unpacked
_DEEPEST = 4  # folders around the data of an archive
_FREE = ("license", "readme")  # files at the top of archives that may differ
log = logging.getLogger("portbev.data")

LooksLike = Callable[[DataPath], bool]


def archives_in(folder: Path, notes: list[str]) -> list[Path]:
    """The archives at the top of a folder that are to be read in place, by name.

    One whose first files lie unpacked beside it is passed over. ``notes`` gets a line on each that is not read.
    """
    found = []
    for name in sorted(os.listdir(folder)):
        path = folder / name
        if is_other_archive(name) and path.is_file():
            notes.append(f"{path} is not read: pack it again as .tar, .tgz or .zip, or unpack it")
        elif is_archive(name) and path.is_file():
            if _is_unpacked(path, folder):
                notes.append(f"{path} is passed over: its first files lie unpacked beside it")
            else:
                found.append(path)
    return found


def _is_unpacked(archive: Path, folder: Path) -> bool:
    """Whether the first files of an archive lie in a folder with the same sizes."""
    first = list(islice(_first_files(archive), _PEEK))

    def lies_there(name: str, size: int) -> bool:
        parts = name.split("/")
        candidates = (folder.joinpath(*parts[start:]) for start in range(min(len(parts), _DEEPEST)))
        return any(path.is_file() and path.stat().st_size == size for path in candidates)

    return bool(first) and all(lies_there(name, size) for name, size in first)


def _first_files(archive: Path) -> Iterator[tuple[str, int]]:
    """Path and size of files in an archive, as far as it can be read."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                infos = [(info.filename, info.file_size) for info in opened.infolist()[:1000] if not info.is_dir()]
            yield from ((path, size) for name, size in infos if (path := plain(name)))
            return
        with tarfile.open(archive, "r|*") as stream:
            for member in islice(stream, 1000):
                path = plain(member.name) if member.isreg() else None
                if path:
                    yield path, member.size
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, ValueError):
        return  # the index will say what is wrong with it


def open_archives(paths: Sequence[Path], looks_like: LooksLike, *, whole: bool, notes: list[str]) -> list[Archive]:
    """Archives as trees of files; their indexes are made where there are none, several at once.

    Args:
        looks_like: whether a folder looks like the data of a data set.
        whole: whether the data need all of them; if not, one that cannot be read is noted.

    Raises:
        PortbevError: one cannot be read (see :func:`portbev.data.archives.store.make_index`).
        DataError: two hold one file with unlike contents.
    """
    indexes: list[Index | PortbevError] = _make_all(paths)
    opened = []
    for path, index in zip(paths, indexes, strict=True):
        if not isinstance(index, PortbevError):
            opened.append(Archive(path, index, _top(Archive(path, index), looks_like)))
        elif whole:
            raise index
        else:
            notes.append(f"{path} is not read: {index.what}" + (f". {index.cure}" if index.cure else ""))
    _compare(opened)
    return opened


def _make_all(paths: Sequence[Path]) -> list[Index | PortbevError]:
    stop = threading.Event()

    def make(path: Path, report: Progress) -> Index | PortbevError:
        def going_on(done: int, total: int) -> None:
            if stop.is_set():
                raise KeyboardInterrupt
            report(done, total)

        try:
            return make_index(path, going_on)
        except PortbevError as error:
            return error

    new = [path for path in paths if path.is_file() and not index_path(path)[0].exists()]
    if new:
        size = sum(path.stat().st_size for path in new) / 1e9
        log.warning("indexing %d archive%s of %.2f GB, once", len(new), "s"[: len(new) > 1], size)
    done = [0] * len(paths)
    with reporter(True, "Indexing archives, once", 0) as report:

        def report_one(number: int) -> Progress:
            def of(here: int, total: int) -> None:
                done[number] = here
                report(sum(done), max(sum(done), sum(path.stat().st_size for path in paths)))

            return of

        with ThreadPoolExecutor(max(1, min(len(paths), cpus()))) as pool:
            try:
                return list(pool.map(lambda job: make(job[1], report_one(job[0])), enumerate(paths)))
            except BaseException:
                stop.set()
                raise


def _top(archive: Archive, looks_like: LooksLike) -> str:
    """The folder of an archive in which its data begin, if some folders are around all of it."""
    top = ""
    for _ in range(_DEEPEST):
        if looks_like(StorePath(archive, top)):
            return top
        folders = archive.index.folders(top)
        if len(folders) != 1:
            return ""
        top = f"{top}/{folders[0]}" if top else folders[0]
    return ""


def _compare(archives: Sequence[Archive]) -> None:
    """Refuse files that several archives hold with unlike contents; what was compared once is not compared again.

    Raises:
        DataError: there are some; says how many, and the first.
    """
    if len(archives) < 2:
        return
    key = hashlib.sha256("\n".join(f"{one.index.path.name} {one.top}" for one in archives).encode()).hexdigest()[:24]
    agreed = cache_folder() / "archives" / f"agree-{key}.json"
    if agreed.exists() and parse_json(agreed.read_bytes()) == {"agree": True}:
        return
    unlike = [group for group in _doubled(archives) if len({(row.size, row.crc) for row in group}) > 1]
    if unlike:
        first = unlike[0][0]
        second = next(row for row in unlike[0] if (row.size, row.crc) != (first.size, first.crc))
        path = "/".join(filter(None, first.path))
        what = f"holds {path} with another content than {archives[first.archive].path.name}"
        more = f" (and {len(unlike) - 1} other files)" if len(unlike) > 1 else ""
        cure = "Name the archives that belong together: data.root=[A.tgz, B.tgz]"
        raise DataError(what + more, where=str(archives[second.archive].path), cure=cure)
    try:
        write_json(agreed, {"agree": True})
    except PortbevError as error:
        log.warning("%s", error)


class _Row(NamedTuple):
    """A file in one of several archives: folder and name, the archive's number, size and checksum."""

    path: tuple[str, str]
    archive: int
    size: int
    crc: int


def _doubled(archives: Sequence[Archive]) -> Iterator[list[_Row]]:
    """Files that several archives hold, but licences and the like."""

    def rows(number: int, archive: Archive) -> Iterator[_Row]:
        for member in archive.index.every(archive.top):
            folder = member.folder[len(archive.top) :].lstrip("/") if archive.top else member.folder
            yield _Row((folder, member.name), number, member.size, member.crc)

    merged = heapq.merge(*(rows(number, archive) for number, archive in enumerate(archives)))
    for (folder, name), group in groupby(merged, key=lambda row: row.path):
        found = list(group)
        if len(found) > 1 and not (folder == "" and name.lower().startswith(_FREE)):
            yield found
