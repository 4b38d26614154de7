"""A generated data set grows beside its place and takes its name when it is complete."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from portbev.errors import DataError

MANIFEST = "portbev_synth.json"
"""Written last; its ``digest`` says with which options the data set was made."""


def grow(out: Path | str, digest: str, build: Callable[[Path], None], *, what: str) -> Path:
    """``out`` as ``build`` makes it, unless it is there already. Several processes may ask at once: one builds.

    Args:
        out: folder to make.
        digest: of the options.
        build: fills a folder, with the manifest. After an interruption it is given the same folder again, to go on.
        what: for messages: what cannot be written.

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
        lock.unlink(missing_ok=True)  # whoever waits for it now finds the data set complete
    except OSError as error:
        raise DataError(
            f"cannot write {what}: {error.strerror or error}",
            where=str(error.filename or out),
            cure="Check permissions and free space, or choose another folder",
        ) from error
    return out


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of a generated data set, None where there is none."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _is_complete(out: Path, digest: str) -> bool:
    """Whether ``out`` is this data set already; raises when it is something else."""
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
    part = out.parent / f".{out.name}.{digest}.part"
    for old in out.parent.glob(f".{out.name}.*.part"):
        if old != part:
            shutil.rmtree(old)
    part.mkdir(exist_ok=True)
    build(part)
    if out.exists():
        out.rmdir()
    os.replace(part, out)
