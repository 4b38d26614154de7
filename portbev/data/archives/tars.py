"""Walks through a tar archive, compressed or not, and writes where its files lie."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from portbev.data.archives import gzips
from portbev.data.archives.deflate import Point
from portbev.data.archives.index import IN_STREAM, STORED, Member, Writer
from portbev.data.archives.names import linked, plain
from portbev.errors import DataError

_SAVED = 512 << 20  # bytes of the stream after which an uncompressed archive's walk is saved


def walk(archive: Path, writer: Writer, *, compressed: bool, report: Callable[[int], None]) -> list[str]:
    """Write the files of a tar archive into an index; an interrupted walk goes on where it was saved.

    Args:
        report: is called with the bytes of the tar that were walked through.

    Returns:
        Notes on what is odd about the archive.

    Raises:
        DataError: the archive is truncated or damaged, or no tar.
    """
    at = int(writer.fact("reached") or 0)
    start = writer.last_point(at) if compressed else None
    if compressed and start is None and at:
        writer.restart()
        at = 0
    source = _Compressed(archive, start, writer) if compressed else _Plain(archive, at)
    feed = _Feed(source.blocks(), start.offset if start else at)
    feed.seek(at)
    method = IN_STREAM if compressed else STORED
    notes, skipped = [], int(writer.fact("skipped") or 0)
    try:
        for member, path in _members(archive, feed, at):
            if path is None:
                skipped += not member.isdir()
            elif member.isdir():
                writer.add_folder(path)
            elif member.islnk() or member.issym():
                folder, _, name = path.rpartition("/")
                target = linked(folder, member.linkname) if member.issym() else plain(member.linkname) or ""
                writer.add_link(folder, name, target)
            elif member.isreg() and not member.issparse():
                folder, _, name = path.rpartition("/")
                crc = feed.checksum(member.offset_data, member.size, archive)
                time = int(member.mtime)
                writer.add([Member(folder, name, member.offset_data, member.size, crc, time, method)])
            else:
                skipped += 1
            feed.reached = member.offset  # saved with the places of a stretch: this member is walked again
            source.save_if_due(writer, feed.reached, skipped)
            report(feed.position)
    except _NoEndError:
        notes.append("has no mark at its end, so that nobody can tell whether all of it is there")
    feed.drain()
    lost = writer.resolve_links()
    if skipped:
        notes.append(f"{skipped} entries are no data (files of macOS, devices, paths that lead outside)")
    if lost:
        notes.append(f"{lost} links lead to nothing in it")
    return notes


class _NoEndError(Exception):
    """The file ends after a whole member, without the two empty blocks."""


def _members(archive: Path, feed: _Feed, at: int) -> Iterator[tuple[tarfile.TarInfo, str | None]]:
    """Each member with its path; the feed stands at its data."""
    # TarFile() itself takes damage for the archive's end
    tar: Any = tarfile.TarFile.__new__(tarfile.TarFile)
    tar.fileobj, tar.encoding, tar.errors, tar.pax_headers, tar.offset = feed, "utf-8", "surrogateescape", {}, at
    tar.tarinfo, tar.debug, tar.ignore_zeros = tarfile.TarInfo, 0, False
    first = True
    while True:
        start = feed.position
        try:
            member = tarfile.TarInfo.fromtarfile(cast(tarfile.TarFile, tar))
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return
        except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]
            if first and not at:
                raise gzips.damaged(archive, "it is empty") from error
            raise _NoEndError from error
        except (tarfile.HeaderError, ValueError, UnicodeDecodeError) as error:
            if first and not at:
                raise DataError("is no tar archive", where=str(archive), cure="Look at it: file, tar -tf") from error
            raise gzips.damaged(archive, f"no entry at byte {start} ({error})") from error
        first = False
        yield member, plain(member.name)
        feed.seek(tar.offset)


class _Feed:
    """Blocks as a file that is read forwards."""

    def __init__(self, blocks: Iterator[bytes], position: int) -> None:
        self._blocks, self._block, self._in_block = blocks, b"", 0
        self.position, self.reached = position, position

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        """Skip to a later position."""
        for _ in self._parts(position - self.position):
            pass

    def read(self, size: int) -> bytes:
        return b"".join(self._parts(size))

    def checksum(self, position: int, size: int, archive: Path) -> int:
        """CRC-32 of a file.

        Raises:
            DataError: it ends before.
        """
        self.seek(position)
        crc, left = 0, size
        for part in self._parts(size):
            crc, left = zlib.crc32(part, crc), left - len(part)
        if left:
            raise gzips.damaged(archive, f"it ends within a file, at byte {self.position}")
        return crc

    def drain(self) -> None:
        """Read to the end, where a compressed file is checked."""
        for _ in self._blocks:
            pass

    def _parts(self, size: int) -> Iterator[memoryview]:
        while size > 0:
            if self._in_block == len(self._block):
                self._block, self._in_block = next(self._blocks, b""), 0
                if not self._block:
                    return
            part = memoryview(self._block)[self._in_block : self._in_block + size]
            self._in_block += len(part)
            self.position += len(part)
            size -= len(part)
            yield part


class _Plain:
    """An archive that is not compressed."""

    def __init__(self, archive: Path, at: int) -> None:
        self._archive, self._at, self._saved = archive, at, at

    def blocks(self) -> Iterator[bytes]:
        with open(self._archive, "rb") as file:
            file.seek(self._at)
            while block := file.read(gzips.BLOCK):
                yield block

    def save_if_due(self, writer: Writer, reached: int, skipped: int) -> None:
        if reached - self._saved >= _SAVED:
            self._saved = reached
            _save(writer, reached, skipped)


class _Compressed:
    """An archive that is compressed as a whole."""

    def __init__(self, archive: Path, start: Point | None, writer: Writer) -> None:
        self._archive, self._start, self._writer, self._due = archive, start, writer, False

    def blocks(self) -> Iterator[bytes]:
        return gzips.blocks(self._archive, self._start, self._found)

    def _found(self, points: list[Point]) -> None:
        self._writer.add_points(points)
        self._due = True

    def save_if_due(self, writer: Writer, reached: int, skipped: int) -> None:
        if self._due:
            self._due = False
            _save(writer, reached, skipped)


def _save(writer: Writer, reached: int, skipped: int) -> None:
    writer.set("reached", reached)
    writer.set("skipped", skipped)
    writer.commit()
