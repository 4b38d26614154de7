"""What ``torch.save`` writes, today's zip and the format before torch 1.6, and plain pickles.

Storages are views of the file mapped into memory: what is not used is not read, and no size that a file declares is
reserved before it is compared with the size of the file.
"""

from __future__ import annotations

import io
import mmap
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from portbev.tensorfiles.makers import BUILDERS, MAKERS, storage_dtype
from portbev.tensorfiles.standins import Global
from portbev.tensorfiles.unpickling import load

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
MAX_NESTED = 2  # files of torch.save inside a pickle inside a file


class DamagedError(Exception):
    """The file is not whole, or not what it seems; the message is a clause."""


def read_zip(path: Path) -> Any:
    """Content of a file in torch's zip format.

    Raises:
        DamagedError: a zip of something else, or one that is not whole.
    """
    raw = _mapped(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {info.filename: info for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error, UnicodeError) as error:
        raise DamagedError("is a zip that is not whole: it was cut off, or damaged, on its way here") from error
    root = next(
        (name.removesuffix("data.pkl") for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")), None
    )
    if root is None:
        raise DamagedError(f"is a zip that torch.save did not write ({_some(sorted(entries))})")
    if f"{root}constants.pkl" in entries or any(name.startswith(f"{root}code/") for name in entries):
        raise DamagedError("is a TorchScript program, not weights")

    def record(name: str) -> Tensor:
        info = entries.get(root + name)
        if info is None:
            raise DamagedError(f"is damaged: it has no part {name}")
        return _stored(raw, info)

    if f"{root}byteorder" in entries and bytes(record("byteorder").numpy()) not in (b"little", b"big"):
        raise DamagedError("is damaged: its byte order is unknown")
    if f"{root}byteorder" in entries and bytes(record("byteorder").numpy()).decode() != sys.byteorder:
        raise DamagedError("was written on a machine with the other byte order")
    storages: dict[tuple[str, torch.dtype], Tensor] = {}

    def persistent(pid: Any) -> Tensor:
        dtype, key, count = _storage_id(pid)
        found = storages.get((key, dtype))
        if found is None:
            data = record(f"data/{key}")
            if count * dtype.itemsize > data.numel():
                raise DamagedError(f"declares {count} numbers in part data/{key} of {data.numel()} bytes")
            found = storages[key, dtype] = _as(data[: count * dtype.itemsize], dtype)
        return found

    return _load(io.BytesIO(record("data.pkl").numpy().tobytes()), persistent)


def read_legacy(path: Path) -> Any:
    """Content of a file in torch's format before 1.6, or of a plain pickle.

    Raises:
        DamagedError: neither, or not whole.
    """
    raw = _mapped(path)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return _read_stream(view, raw, 0)


def _read_stream(stream: Any, raw: Tensor, nested: int) -> Any:
    first = _load(stream, None, nested)
    if first != MAGIC or isinstance(first, bool):
        return first  # a plain pickle
    if _load(stream, None, nested) != PROTOCOL:
        raise DamagedError("is of a version of torch.save that is unknown")
    facts = _load(stream, None, nested)
    if isinstance(facts, dict) and facts.get("little_endian", True) != (sys.byteorder == "little"):
        raise DamagedError("was written on a machine with the other byte order")
    storages: dict[str, Tensor] = {}
    types: dict[str, torch.dtype] = {}
    room = raw.numel()

    def persistent(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":
            return pid[1]  # a class, with its source
        dtype, key, count = _storage_id(pid)
        if count * dtype.itemsize > room:
            raise DamagedError(f"declares {count} numbers in a file of {room} bytes")
        if key not in storages:
            storages[key], types[key] = torch.empty(count * dtype.itemsize, dtype=torch.uint8), dtype
            room_left[0] -= count * dtype.itemsize
            if room_left[0] < 0:
                raise DamagedError(f"declares more numbers than a file of {room} bytes holds")
        whole = storages[key].view(dtype)
        part = pid[5] if len(pid) > 5 else None
        if isinstance(part, tuple) and len(part) == 3:
            _, offset, size = part
            return whole[offset : offset + size]
        return whole

    room_left = [room]
    content = _load(stream, persistent, nested)
    keys = _load(stream, None, nested)
    for key in keys if isinstance(keys, list) else []:
        if str(key) not in storages:
            raise DamagedError("is damaged: it names a storage that it does not use")
        target, dtype = storages[str(key)], types[str(key)]
        count = struct.unpack("<q", _exactly(stream, 8))[0]
        if count * dtype.itemsize != target.numel():
            raise DamagedError("is damaged: a storage has another size than declared")
        start = stream.tell()
        if start + target.numel() > room:
            raise DamagedError("is not whole: it was cut off on its way here")
        target.copy_(raw[start : start + target.numel()])
        stream.seek(start + target.numel())
    return content


def _load(stream: Any, persistent: Callable[[Any], Any] | None, nested: int = 0) -> Any:
    def nested_file(data: Any) -> Any:
        """A storage that was pickled by itself: a file of torch.save as bytes."""
        if nested >= MAX_NESTED or not isinstance(data, bytes | bytearray) or not data:
            raise pickle.UnpicklingError("files inside files")
        return _read_stream(io.BytesIO(bytes(data)), torch.frombuffer(bytearray(data), dtype=torch.uint8), nested + 1)

    makers = {**MAKERS, "torch.storage._load_from_bytes": nested_file}
    try:
        return load(stream, makers, BUILDERS, persistent)
    except pickle.UnpicklingError as error:
        reason = " ".join(str(error).split())[:120]
        raise DamagedError(f"cannot be read: cut off, damaged, or no pickle ({reason})") from error
    except MemoryError as error:
        raise DamagedError("needs more memory to read than there is") from error


def _storage_id(pid: Any) -> tuple[torch.dtype, str, int]:
    """Type, key and number of elements of the storage that ``pid`` names."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
        raise pickle.UnpicklingError("a persistent name that is no storage")
    kind, key, count = pid[1], pid[2], pid[4]
    if not isinstance(kind, Global) or not isinstance(count, int) or count < 0:
        raise pickle.UnpicklingError("a storage without type or size")
    return storage_dtype(kind), str(key), count


def _mapped(path: Path) -> Tensor:
    """The bytes of a file, mapped; writing to them does not reach the file."""
    size = path.stat().st_size
    if not size:
        raise DamagedError("is empty")
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)


def _stored(raw: Tensor, info: zipfile.ZipInfo) -> Tensor:
    """The bytes of an entry of a zip, which must not be compressed."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
        raise DamagedError("is a compressed zip that torch.save did not write")
    head = bytes(raw[info.header_offset : info.header_offset + 30].numpy())
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise DamagedError("is a damaged zip")
    name, extra = struct.unpack("<HH", head[26:30])
    start = info.header_offset + 30 + name + extra
    if start + info.file_size > raw.numel():
        raise DamagedError(f"is a damaged zip: part {info.filename} does not lie in the file")
    data = raw[start : start + info.file_size]
    if info.CRC and zlib.crc32(data.numpy().data) != info.CRC:
        raise DamagedError(f"is damaged: the checksum of its part {info.filename} is wrong")
    return data


def _as(data: Tensor, dtype: torch.dtype) -> Tensor:
    """The bytes ``data`` as numbers."""
    if data.storage_offset() % max(dtype.itemsize, 1):
        data = data.clone()
    return data.view(dtype)


def _exactly(stream: Any, size: int) -> bytes:
    data: bytes = stream.read(size)
    if len(data) != size:
        raise DamagedError("is not whole: it was cut off on its way here")
    return data


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
