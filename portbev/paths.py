"""What readers of data use of a path: the files of a data set may lie in a folder, in archives, or behind a URL."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import yaml
from numpy.typing import NDArray


class FileState(Protocol):
    """What is known of a file without reading it."""

    @property
    def st_size(self) -> int: ...

    @property
    def st_mtime_ns(self) -> int: ...


class DataPath(Protocol):
    """A file or folder of a data set, for reading: the part of :class:`pathlib.Path` that readers may use.

    Whatever is not a :class:`~pathlib.Path` has no name in the file system: libraries get the open file or its bytes.
    """

    @property
    def name(self) -> str: ...

    @property
    def stem(self) -> str: ...

    @property
    def suffix(self) -> str: ...

    @property
    def parent(self) -> DataPath: ...

    def __truediv__(self, name: str, /) -> DataPath: ...

    def __lt__(self, other: Any, /) -> bool: ...

    def exists(self) -> bool: ...

    def is_file(self) -> bool: ...

    def is_dir(self) -> bool: ...

    def iterdir(self) -> Iterator[DataPath]: ...

    def stat(self) -> FileState: ...

    def resolve(self) -> DataPath: ...

    def open(self, mode: Literal["rb"]) -> io.BufferedReader: ...

    def read_bytes(self) -> bytes: ...

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str: ...


AnyPath = TypeVar("AnyPath", Path, DataPath)
"""For names of files that are both read and written."""


def as_path(path: DataPath | str) -> DataPath:
    """``path``, or the path in the file system that a text names."""
    return Path(path) if isinstance(path, str) else path


def file_sizes(folder: DataPath) -> dict[str, int]:
    """Name -> size in bytes of each file in a folder, which is listed once; none where there is no such folder."""
    try:
        if isinstance(folder, Path):
            with os.scandir(folder) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return {}


def names_in(folder: DataPath) -> frozenset[str]:
    """Names of what is in a folder, which is listed once; none where there is no such folder."""
    try:
        return frozenset(os.listdir(folder) if isinstance(folder, Path) else (path.name for path in folder.iterdir()))
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return frozenset()


def read_array(path: DataPath, dtype: str) -> NDArray[Any]:
    """The values of a file that holds nothing else, in memory of their own.

    Raises:
        OSError: no such file, or it cannot be read.
        ValueError: it does not hold a whole number of values.
    """
    if isinstance(path, Path):
        content: NDArray[Any] = np.fromfile(path, np.uint8)
    else:
        content = np.frombuffer(bytearray(path.read_bytes()), np.uint8)
    if content.size % np.dtype(dtype).itemsize:
        raise ValueError(f"{content.size} bytes are no whole number of {dtype} values")
    return content.view(dtype)


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")


def is_url(text: str) -> bool:
    """Whether a data root is a URL (``s3://bucket/folder``) and not a path."""
    return _URL.match(text) is not None


def roots_in(text: str) -> list[str]:
    """The data roots that a text names: itself, or the items of a list in YAML's form, ``[/data/a.tgz, /data/b]``."""
    if not (text.startswith("[") and text.endswith("]")):
        return [text]
    try:
        items = yaml.safe_load(text)
    except yaml.YAMLError:
        return [text]
    named = isinstance(items, list) and items and all(isinstance(item, str) and item for item in items)
    return [str(item) for item in items] if named else [text]


def as_text(roots: Sequence[str]) -> str:
    """Data roots as one text, which :func:`roots_in` takes apart again."""
    return roots[0] if len(roots) == 1 else json.dumps(list(roots), ensure_ascii=False)
