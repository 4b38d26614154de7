"""Writes files atomically: whole or not at all."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portbev.errors import PortbevError


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success flush it to disk and rename it over ``path``.

    A reader sees the old file or the new one, never a part of it. On an exception the temporary file is removed.

    Raises:
        PortbevError: the folder is read-only, the disk is full, or the path cannot be created.
    """
    path = Path(path)
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
        _sync_folder(path.parent)
    except OSError as error:
        raise PortbevError(
            f"cannot write: {error.strerror or error}",
            where=str(path),
            cure="Check that the folder is writable and the disk has room, or choose another output with --out",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def parse_json(text: str | bytes, **options: Any) -> Any:
    """``json.loads``, for which a nesting without end is a ValueError like any other damage."""
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def write_json(path: Path | str, value: Any, *, indent: int | None = 1) -> None:
    """Write ``value`` as JSON, atomically. NaN raises a ValueError, because JSON has no NaN."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(value, indent=indent, allow_nan=False) + "\n", encoding="utf-8")


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` in UTF-8, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prepare_folder(folder: Path) -> None:
    """Create ``folder`` and check that files can be written to it, before hours of work rely on that.

    Raises:
        PortbevError: the folder cannot be created or written.
    """
    probe = folder / ".writable"
    with atomic_write(probe) as temporary:
        temporary.write_bytes(b"portbev\n")
    probe.unlink(missing_ok=True)


def finite(value: Any) -> Any:
    """A copy of a nested value that JSON can hold: NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
