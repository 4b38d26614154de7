"""The index of a version, kept in the cache between runs."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np

from portbev.data.root import cache_folder
from portbev.errors import PortbevError
from portbev.files import atomic_write
from portbev.paths import DataPath
from portbev_nuscenes.tables.build import build_index
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.rows import INDEXED, version_folder

FORMAT = 3
"""Version of the cached format; increase it whenever the arrays of an index change their meaning."""

log = logging.getLogger("portbev.data")


def load_index(root: DataPath, version: str, *, sweeps: bool = False, notes: list[str] | None = None) -> Index:
    """The index of ``<root>/<version>``: from the cache, or built from the tables and written there.

    The cache is keyed by the tables' paths, sizes and modification times; the data root is never written to. A damaged
    or unwritable cache is no error: the index is built from the tables, and that is logged and added to ``notes``.

    Raises:
        DataError: the tables cannot be used (see :func:`portbev_nuscenes.tables.build.build_index`).
    """
    folder = version_folder(root, version)
    path = cache_folder() / "nuscenes" / f"{version}-{_identity(folder, sweeps)}.npz"
    if path.exists():
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, TypeError) as error:
            _note(notes, f"the cached index {path} is damaged ({error}); it was built again from the tables")
    index = build_index(folder, sweeps=sweeps)
    try:
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **index.arrays())  # type: ignore[arg-type]
    except PortbevError as error:
        _note(notes, f"the index is not cached, so the tables are read anew each time: {error.where} {error.what}")
    return index


def _read(path: Path) -> Index:
    with np.load(path, allow_pickle=False) as stored:
        return Index(**{field.name: stored[field.name] for field in fields(Index)})


def _identity(folder: DataPath, sweeps: bool) -> str:
    """Hash (32 hex digits) of the tables' paths, sizes and modification times; the tables are not read."""
    tables = []
    for name in INDEXED:
        path = folder / f"{name}.json"
        state = path.stat() if path.exists() else None
        tables.append((str(path.resolve()), state and state.st_size, state and state.st_mtime_ns))
    return hashlib.sha256(json.dumps([FORMAT, sweeps, tables]).encode()).hexdigest()[:32]


def _note(notes: list[str] | None, text: str) -> None:
    log.warning("%s", text)
    if notes is not None:
        notes.append(text)
