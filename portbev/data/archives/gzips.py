"""Walks through a gzip file once and notes the places where it can be entered later.

``indexed_gzip`` finds the places. It keeps all it found in memory, 32 KiB each; so a long file is walked in stretches,
each as if it were a file of its own that begins with what precedes the stretch.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from portbev.data.archives.deflate import WINDOW, Point, opening
from portbev.errors import DataError, PortbevError

SPACING = 2 << 20
"""Bytes between places; a file is read by decompressing half of it on average, before its first byte comes."""
STRETCH = 512 << 20
"""Bytes of a stretch."""
BLOCK = 1 << 20

_GZIP = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_HEAD, _POINT = struct.Struct("<5sBBQQIII"), struct.Struct("<QQBB")  # indexed_gzip's file of an index


def blocks(archive: Path, start: Point | None, found: Callable[[list[Point]], None]) -> Iterator[bytes]:
    """What ``archive`` compresses, from ``start`` on.

    Args:
        start: a place that an earlier walk found; None: from the beginning.
        found: is called with new places at the end of each stretch.

    Raises:
        PortbevError: indexed_gzip is not installed.
        DataError: the file is truncated or damaged.
    """
    library, skip, ends = _library(), 0, list[int]()
    while True:
        length, new = 0, list[Point]()
        with _Stretch(archive, start) as file:
            stream = library.IndexedGzipFile(
                fileobj=file, spacing=SPACING, window_size=WINDOW, buffer_size=BLOCK, skip_crc_check=start is not None
            )
            try:
                unread = file.preceding + skip
                while unread and (block := stream.read(min(BLOCK, unread))):
                    unread -= len(block)
                while block := stream.read(BLOCK):
                    length += len(block)
                    yield block
                    if length >= STRETCH:
                        new = _places(stream, file)
                        if new and new[-1].window:
                            break
                else:
                    stream.build_full_index()  # it notes places some time after they were read
                    new = _places(stream, file)
            except (library.ZranError, OSError, EOFError) as error:
                read = f"{file.position / 1e9:.3f} of {archive.stat().st_size / 1e9:.3f} GB were read"
                raise damaged(archive, read) from error
            finally:
                stream.close()
        reached = skip + length + (start.offset if start else 0)
        new = [point for point in new if point.offset <= reached]  # it has read ahead
        found(new)
        ends += [point.offset for point in new if not point.window]
        if not block:
            if ends and not _ends_with(archive, reached - ends[-1]):
                raise damaged(archive, "its end is missing")
            return
        start = new[-1] if new else start
        skip = reached - (start.offset if start else 0)


def _places(stream: Any, file: _Stretch) -> list[Point]:
    """The places that indexed_gzip has found."""
    exported = io.BytesIO()
    stream.export_index(fileobj=exported)
    return [file.original(point) for point in _parse(exported.getvalue()) if file.is_new(point)]


def damaged(archive: Path, why: str) -> DataError:
    """The error for an archive that must be fetched again."""
    return DataError(f"archive is truncated or damaged: {why}", where=str(archive), cure="Fetch it again")


def _ends_with(archive: Path, size: int) -> bool:
    """Whether a gzip file ends as one whose last stream holds ``size`` bytes; zeros may follow."""
    with open(archive, "rb") as file:
        file.seek(-min(BLOCK, archive.stat().st_size), io.SEEK_END)
        tail = file.read()
    expected, bare = struct.pack("<I", size & 0xFFFFFFFF), len(tail.rstrip(b"\0"))
    return any(tail[:end].endswith(expected) for end in {len(tail), *range(bare, min(bare + 4, len(tail)) + 1)})


class _Stretch(io.RawIOBase):
    """A gzip file that begins with what precedes a place of another, and goes on as that one does from there."""

    def __init__(self, archive: Path, start: Point | None) -> None:
        self._file = os.open(archive, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        self._start, self._head, self.position, self.preceding = start, b"", 0, 0
        if start is not None:
            before = os.pread(self._file, 1, start.packed - 1)
            stored = b""
            if start.window:
                self.preceding = len(start.window)
                stored = struct.pack("<BHH", 0, self.preceding, self.preceding ^ 0xFFFF) + start.window
            self._head = _GZIP + stored + opening(start, before)
        self._shift = 0 if start is None else start.packed - len(self._head)

    def original(self, point: Point) -> Point:
        """A place of this file as one of the archive."""
        offset = point.offset - self.preceding + (self._start.offset if self._start else 0)
        return point._replace(offset=offset, packed=point.packed + self._shift)

    def is_new(self, point: Point) -> bool:
        """Whether a place of this file is one that was not known."""
        return self._start is None or point.offset > self.preceding

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        ends = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self._size - self._shift}
        self.position = ends[whence] + offset
        return self.position

    def readinto(self, buffer: Any) -> int:
        if self.position < len(self._head):
            data = self._head[self.position : self.position + len(buffer)]
        else:
            data = os.pread(self._file, len(buffer), self.position + self._shift)
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()


def _parse(raw: bytes) -> list[Point]:
    """The places in a file that ``IndexedGzipFile.export_index`` wrote."""
    magic, version, _, _, _, _, window_size, count = _HEAD.unpack_from(raw)
    if magic != b"GZIDX" or version != 1:
        raise PortbevError(
            f"indexed_gzip writes an index of version {version}, which is not known here",
            cure="Install another one: pip install 'indexed_gzip<2'",
        )
    rows = [_POINT.unpack_from(raw, _HEAD.size + number * _POINT.size) for number in range(count)]
    points, at = [], _HEAD.size + count * _POINT.size
    for packed, offset, bits, has_window in rows:
        points.append(Point(offset, packed, bits, raw[at : at + window_size] if has_window else None))
        at += window_size if has_window else 0
    return points


def _library() -> Any:
    try:
        import indexed_gzip
    except ImportError as error:
        what = "compressed archives need a package that is not installed"
        raise PortbevError(what, where="indexed_gzip", cure="pip install 'portbev[archives]'") from error
    return indexed_gzip
