"""A checkpoint: a folder written whole or not at all.

It holds ``model.safetensors``, ``ema.safetensors`` (with an average), ``state.pt`` (optimizer, scaler, position; loads
with ``weights_only=True``) and ``meta.json``, which names each file's size and SHA-256. The folder is written under a
temporary name, flushed to disk, and renamed. No generator state is in it: every random draw of a run is keyed by what
it is for (see :mod:`portbev.rng`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from pydantic import BaseModel, Field, ValidationError
from torch import Tensor

from portbev.digests import file_digest
from portbev.errors import CheckpointError, PortbevError
from portbev.files import parse_json
from portbev.runs.reading import in_words
from portbev.runs.tensors import read_state, write_safetensors
from portbev.tensorfiles.reading import read_safetensors

SCHEMA = "portbev.checkpoint/1"
MODEL, EMA, STATE, META = "model.safetensors", "ema.safetensors", "state.pt", "meta.json"
_CURE_FULL = "Check that the folder is writable and the disk has room, or choose another output with --out"


class _File(BaseModel):
    bytes: int
    sha256: str


class _Meta(BaseModel):
    """What every ``meta.json`` has; whoever trains adds more."""

    step: int = Field(ge=0, strict=True)
    files: dict[str, _File]


@dataclass
class Checkpoint:
    """What a checkpoint holds. ``state`` must consist of tensors, numbers, text, lists and mappings."""

    step: int
    model: Mapping[str, Tensor]
    ema: Mapping[str, Tensor] | None
    state: dict[str, Any]
    meta: dict[str, Any] = field(default_factory=dict)


def write_checkpoint(checkpoint: Checkpoint, final: Path) -> None:
    """Write ``checkpoint`` as the folder ``final``; one that is there is replaced.

    Raises:
        PortbevError: read-only folder or full disk; what was there before stays.
    """
    temporary = final.with_name(f".{final.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
        write_safetensors(temporary / MODEL, checkpoint.model)
        if checkpoint.ema is not None:
            write_safetensors(temporary / EMA, checkpoint.ema)
        with open(temporary / STATE, "wb") as file:
            torch.save(checkpoint.state, file)
        files = {p.name: {"bytes": p.stat().st_size, "sha256": file_digest(p)} for p in sorted(temporary.iterdir())}
        meta = {"schema": SCHEMA, "step": checkpoint.step, **checkpoint.meta, "files": files}
        (temporary / META).write_text(json.dumps(meta, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        for path in temporary.iterdir():
            _flush(path)
        _flush(temporary)
        if final.exists():
            remove_folder(final)
        os.replace(temporary, final)
        _flush(final.parent)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
        raise PortbevError(f"cannot write the checkpoint: {reason}", where=str(final), cure=_CURE_FULL) from error


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder, after checking each file against the digest in ``meta.json``.

    Raises:
        CheckpointError: a file is missing, truncated or altered, or the folder is no checkpoint of portbev.
    """
    meta = _read_meta(folder)
    for name, facts in meta["files"].items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError("is missing", where=str(path))
        size = path.stat().st_size
        if size != facts["bytes"]:
            raise CheckpointError(f"is truncated or altered: {size} bytes instead of {facts['bytes']}", where=str(path))
        if file_digest(path) != facts["sha256"]:
            raise CheckpointError("is altered: its SHA-256 is not the one in meta.json", where=str(path))
    ema = read_safetensors(folder / EMA) if EMA in meta["files"] else None
    state = read_state(folder / STATE)
    return Checkpoint(int(meta["step"]), read_safetensors(folder / MODEL), ema, state, meta)


def remove_folder(path: Path) -> None:
    """Remove a folder so that no half of it can be taken for a checkpoint: rename first."""
    if path.is_dir():
        doomed = path if path.name.startswith(".") else path.with_name(f".{path.name}.{os.getpid()}.old.part")
        if doomed != path:
            os.replace(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _read_meta(folder: Path) -> dict[str, Any]:
    where = str(folder / META)
    try:
        meta = parse_json((folder / META).read_text(encoding="utf-8"))
    except OSError as error:
        what = "is no checkpoint of portbev: it has no readable meta.json"
        raise CheckpointError(what, where=str(folder)) from error
    except ValueError as error:
        raise CheckpointError("is damaged: not valid JSON", where=where) from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        schema = meta.get("schema") if isinstance(meta, dict) else None
        raise CheckpointError(f"schema is {schema!r}, this version reads {SCHEMA!r}", where=where)
    try:
        named = _Meta.model_validate(meta)
    except ValidationError as error:
        raise CheckpointError(f"is damaged: {in_words(error)}", where=where) from error
    if not {MODEL, STATE} <= named.files.keys():
        raise CheckpointError("is damaged: it does not name its files", where=where)
    return meta


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
