"""Generates a data set in a folder beside its final one, which is renamed when the data set is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from portbev.errors import DataError
from portbev.files import parse_json

MANIFEST = "portbev_synth.json"
"""The file that is written last. Its ``digest`` identifies the options of the data set."""


def grow(out: Path | str, digest: str, build: Callable[[Path], None], *, what: str) -> Path:
    """Generate a data set in the folder ``out``, unless it is already there. Returns the folder.

    Several processes can call it at once: one of them generates the data, the others wait.

    Args:
        out: the data set's folder.
        digest: digest of its options.
        build: generates the data set in a given folder, with the manifest. After an interruption it gets the same
            folder again and can continue.
        what: what is written, for messages.

    Raises:
        DataError: ``out`` holds something else, or cannot be written.
    """
    out = Path(out).absolute()
    if _is_complete(out, digest):
        return out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = out.parent / f".{out.name}.lock"
        with FileLock(lock):
            if not _is_complete(out, digest):
                _grow(out, digest, build)
        lock.unlink(missing_ok=True)  # a process that still waits for the lock finds the data set complete
    except OSError as error:
        raise DataError(
            f"cannot write {what}: {error.strerror or error}",
            where=str(error.filename or out),
            cure="Check permissions and free space, or choose another folder",
        ) from error
    return out


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of a generated data set; None if there is none."""
    try:
        manifest = parse_json((root / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _is_complete(out: Path, digest: str) -> bool:
    """Whether ``out`` is this data set already. Raises a DataError if it is something else."""
    manifest = read_manifest(out)
    if manifest is not None:
        if manifest.get("digest") == digest:
            return True
        what = "holds synthetic data made with other options"
        raise DataError(what, where=str(out), cure="Choose another folder or remove this one")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError("exists and is no synthetic data set", where=str(out), cure="Choose a new or an empty folder")
    return False


def _grow(out: Path, digest: str, build: Callable[[Path], None]) -> None:
    """Build the data set beside ``out`` and rename it; unfinished ones of other options are removed."""
    part = out.parent / f".{out.name}.{digest}.part"
    for old in out.parent.glob(f".{out.name}.*.part"):
        if old != part:
            shutil.rmtree(old)
    part.mkdir(exist_ok=True)
    build(part)
    if out.exists():
        out.rmdir()
    os.replace(part, out)
