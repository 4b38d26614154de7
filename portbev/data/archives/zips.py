"""Writes where the files of a zip archive lie; its own directory says that, so nothing is decompressed."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from datetime import datetime
from pathlib import Path

from portbev.data.archives.index import DEFLATED, STORED, Member, Writer
from portbev.data.archives.names import plain
from portbev.errors import DataError

_LOCAL = struct.Struct("<4s22xHH")  # the header before a file: signature, lengths of name and extra field


def walk(archive: Path, writer: Writer) -> list[str]:
    """Write the files of a zip archive into an index.

    Returns:
        Notes on what is odd about the archive.

    Raises:
        DataError: it is truncated, damaged or encrypted.
    """
    skipped = 0
    try:
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                path = plain(info.filename)
                if path is None:
                    skipped += not info.is_dir()
                elif info.is_dir():
                    writer.add_folder(path)
                elif info.flag_bits & 1 or info.compress_type not in (STORED, DEFLATED):
                    kind = "encrypted" if info.flag_bits & 1 else f"compressed by method {info.compress_type}"
                    cure = "Unpack it, or pack it again without"
                    raise DataError(f"{info.filename} is {kind}", where=str(archive), cure=cure)
                else:
                    folder, _, name = path.rpartition("/")
                    row = (info.header_offset, info.file_size, info.CRC, _seconds(info), info.compress_type)
                    writer.add([Member(folder, name, *row, info.compress_size)])
    except (zipfile.BadZipFile, EOFError, struct.error) as error:
        what = f"archive is truncated or damaged: {error}"
        raise DataError(what, where=str(archive), cure="Fetch it again") from error
    return [f"{skipped} entries are no data (files of macOS, paths that lead outside)"] if skipped else []


def _seconds(info: zipfile.ZipInfo) -> int:
    try:
        return int(datetime(*info.date_time).timestamp())
    except (ValueError, OverflowError, OSError):
        return 0


def read(file: int, member: Member, offset: int, size: int) -> bytes:
    """Bytes of a file in a zip archive.

    Args:
        file: descriptor of the archive.

    Raises:
        zlib.error, ValueError: the archive is damaged.
    """
    signature, name, extra = _LOCAL.unpack(os.pread(file, _LOCAL.size, member.place))
    if signature != b"PK\x03\x04":
        raise ValueError("no file where one was")
    start = member.place + _LOCAL.size + name + extra
    if member.method == STORED:
        return os.pread(file, size, start + offset)
    stream, data, at, end = zlib.decompressobj(-zlib.MAX_WBITS), [], 0, offset + size
    for place in range(start, start + member.packed, 1 << 16):
        part = stream.decompress(os.pread(file, min(1 << 16, start + member.packed - place), place))
        if at + len(part) > offset:
            data.append(part[max(0, offset - at) :])
        at += len(part)
        if at >= end:
            break
    return b"".join(data)[:size]
