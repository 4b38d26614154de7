"""Checkpoints: folders written whole or not at all.

``checkpoints/step_00000123/`` holds ``model.safetensors``, ``ema.safetensors`` (with an average), ``state.pt``
(optimizer, scaler, position; loads with ``weights_only=True``) and ``meta.json``, which names each file's size and
SHA-256. The folder is written under a temporary name, flushed to disk, and renamed. No generator state is in it:
every random draw of a run is keyed by what it is for (see :mod:`portbev.rng`).
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from portbev.errors import CheckpointError, PortbevError
from portbev.files import write_json

SCHEMA = "portbev.checkpoint/1"
MODEL, EMA, STATE, META = "model.safetensors", "ema.safetensors", "state.pt", "meta.json"
_CURE_FULL = "Check that the folder is writable and the disk has room, or choose another output with --out"


@dataclass
class Checkpoint:
    """What a checkpoint holds. ``state`` must consist of tensors, numbers, text, lists and mappings."""

    step: int
    model: Mapping[str, Tensor]
    ema: Mapping[str, Tensor] | None
    state: dict[str, Any]
    meta: dict[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The ``checkpoints`` folder of a run.

    Args:
        folder: need not exist yet.
        keep: how many of the newest to keep, besides the best.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}"

    def steps(self) -> list[int]:
        """Steps with a checkpoint, ascending."""
        found = (p.name.removeprefix("step_") for p in self.folder.glob("step_*") if p.is_dir())
        return sorted(int(name) for name in found if name.isdigit())

    def clean(self) -> list[str]:
        """Remove what an interrupted write or removal left behind; returns the names of what was removed."""
        leftovers = sorted(p for p in self.folder.glob(".*.part") if p.name.startswith((".step_", ".latest", ".best")))
        for path in leftovers:
            _remove(path)
        return [path.name for path in leftovers]

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write ``checkpoint``, make it the latest, remove those that are no longer kept.

        Raises:
            PortbevError: read-only folder or full disk; what was there before stays.
        """
        final = self.path(checkpoint.step)
        temporary = self.folder / f".{final.name}.{os.getpid()}.part"
        try:
            temporary.mkdir(parents=True)
            _write_tensors(temporary / MODEL, checkpoint.model)
            if checkpoint.ema is not None:
                _write_tensors(temporary / EMA, checkpoint.ema)
            with open(temporary / STATE, "wb") as file:
                torch.save(checkpoint.state, file)
            files = {p.name: {"bytes": p.stat().st_size, "sha256": _digest(p)} for p in sorted(temporary.iterdir())}
            meta = {"schema": SCHEMA, "step": checkpoint.step, **checkpoint.meta, "files": files}
            (temporary / META).write_text(json.dumps(meta, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            for path in temporary.iterdir():
                _flush(path)
            _flush(temporary)
            if final.exists():
                _remove(final)
            os.replace(temporary, final)
            _flush(self.folder)
        except (OSError, RuntimeError, safetensors.SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else " ".join(str(error).split())
            raise PortbevError(f"cannot write the checkpoint: {reason}", where=str(final), cure=_CURE_FULL) from error
        write_json(self.folder / "latest.json", {"step": checkpoint.step, "path": final.name})
        self._drop_old()
        return final

    def mark_best(self, step: int, metric: str, value: float | None, *, better: str = "higher") -> None:
        """Make the checkpoint of ``step`` the best one if its ``value`` is better than the present best's.

        ``better``: ``higher`` or ``lower``. A value of None (not defined) is never the best.
        """
        best = self.best()
        if value is None:
            return
        gain = 0.0 if best is None else (value - best["value"]) * (1 if better == "higher" else -1)
        if best is None or gain > 0 or best["step"] == step:
            record = {"step": step, "path": self.path(step).name, "metric": metric, "value": value}
            write_json(self.folder / "best.json", record)
            self._drop_old()

    def best(self) -> dict[str, Any] | None:
        """``best.json``, if the checkpoint that it names is still there."""
        try:
            record = json.loads((self.folder / "best.json").read_text(encoding="utf-8"))
            return record if self.path(record["step"]).is_dir() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def newest(self, notes: list[str]) -> Checkpoint | None:
        """The newest checkpoint that is whole; None when there is none at all. Damaged ones are told in ``notes``.

        Raises:
            CheckpointError: there are checkpoints, and none of them is whole.
        """
        failures: list[CheckpointError] = []
        for step in reversed(self.steps()):
            try:
                loaded = load_checkpoint(self.path(step))
            except CheckpointError as error:
                failures.append(error)
            else:
                notes.extend(
                    f"passed over a damaged checkpoint: {failure.where}: {failure.what}" for failure in failures
                )
                return loaded
        if failures:
            first = failures[0]
            what = first.what + (
                "" if len(failures) == 1 else f"; nor is any of the {len(failures) - 1} older ones whole"
            )
            raise CheckpointError(what, where=first.where, cure="Remove the run directory to start over")
        return None

    def drop_after(self, step: int) -> None:
        """Remove checkpoints of later steps (damaged ones that were passed over)."""
        for later in self.steps():
            if later > step:
                _remove(self.path(later))

    def _drop_old(self) -> None:
        best = self.best()
        kept = set(self.steps()[-self.keep :]) | ({best["step"]} if best else set())
        for step in self.steps():
            if step not in kept:
                _remove(self.path(step))


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
        if _digest(path) != facts["sha256"]:
            raise CheckpointError("is altered: its SHA-256 is not the one in meta.json", where=str(path))
    ema = read_safetensors(folder / EMA) if EMA in meta["files"] else None
    state = read_torch(folder / STATE)
    return Checkpoint(int(meta["step"]), read_safetensors(folder / MODEL), ema, state, meta)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        CheckpointError: missing, truncated, or not a safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        what = f"cannot be read as safetensors ({' '.join(str(error).split())}); truncated, or of another kind"
        raise CheckpointError(what, where=str(path)) from error


def read_torch(path: Path, *, trust_pickle: bool = False) -> Any:
    """Content of a file written by ``torch.save``, on the CPU. Executes no code unless ``trust_pickle``.

    Raises:
        CheckpointError: missing, truncated, of another kind, or in need of unpickling that was not allowed.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower() and "Unsupported" not in str(error):
            raise CheckpointError("cannot be read; truncated, or of another kind", where=str(path)) from error
        raise CheckpointError(
            "holds more than tensors and plain values: reading it would execute code from the file",
            where=str(path),
            cure="If you trust where it came from, allow that with --trust-pickle",
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        what = f"cannot be read ({type(error).__name__}: {reason}); truncated, or of another kind"
        raise CheckpointError(what, where=str(path)) from error


def load_weights(model: torch.nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load ``state`` into ``model``.

    Raises:
        CheckpointError: missing or unexpected keys, or other shapes; lists them.
    """
    own = model.state_dict()
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [
        f"{key} has shape {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and own[key].shape != value.shape
    ]
    if problems:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise CheckpointError(
            f"does not fit the model: {shown}", where=where, cure="Give the configuration it was made with"
        )
    model.load_state_dict(dict(state))


def _read_meta(folder: Path) -> dict[str, Any]:
    where = str(folder / META)
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
    except OSError as error:
        what = "is no checkpoint of portbev: it has no readable meta.json"
        raise CheckpointError(what, where=str(folder)) from error
    except ValueError as error:
        raise CheckpointError("is damaged: not valid JSON", where=where) from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        found = meta.get("schema") if isinstance(meta, dict) else None
        raise CheckpointError(f"schema is {found!r}, this version reads {SCHEMA!r}", where=where)
    whole = isinstance(meta.get("files"), dict) and isinstance(meta.get("step"), int)
    if not whole or not {MODEL, STATE} <= set(meta["files"]):
        raise CheckpointError("is damaged: it does not name its files", where=where)
    return meta


def _write_tensors(path: Path, state: Mapping[str, Tensor]) -> None:
    # clone: safetensors refuses tensors that share memory
    save_file({key: value.detach().to("cpu").contiguous().clone() for key, value in state.items()}, path)


def _digest(path: Path) -> str:
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            total.update(block)
    return total.hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a folder so that no half of it can be taken for a checkpoint: rename first."""
    if path.is_dir():
        doomed = path if path.name.startswith(".") else path.with_name(f".{path.name}.{os.getpid()}.old.part")
        if doomed != path:
            os.replace(path, doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
