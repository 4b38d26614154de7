"""A file of weights alone, with its hash in its name, for others to take."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from portbev.digests import file_digest
from portbev.errors import CheckpointError, PortbevError
from portbev.files import atomic_write
from portbev.nn.names import tensor_of
from portbev.runs.checkpoint import META, Checkpoint, load_checkpoint
from portbev.runs.checkpoints import Checkpoints
from portbev.runs.layout import CHECKPOINTS, RUN
from portbev.tensorfiles.reading import read_weights_file

Format = Literal["safetensors", "pth"]
PLACES = ("state_dict", "model_state_dict", "model")
"""Keys under which other projects keep the weights."""
HEX = 8
"""Digits of the hash in a name."""


@dataclass(frozen=True)
class Published:
    """What was written.

    Attributes:
        path: the file; the last eight characters of its stem are the beginning of its SHA-256.
        kind: ``ema`` or ``model``: which weights of the checkpoint.
        tensors: how many.
        left_out: what else the checkpoint holds, by name.
    """

    path: Path
    kind: str
    tensors: int
    left_out: list[str]


def publish(
    source: Path, out: Path | None = None, *, form: Format = "safetensors", use_ema: bool = True, which: str = "latest"
) -> Published:
    """Write the weights of a checkpoint, and nothing else, as ``NAME-HASH.safetensors`` or ``.pth``.

    Args:
        source: a run, a checkpoint folder of portbev, or any file of weights (read without executing it).
        out: the file without hash, or a folder; default: beside the source, with its name.
        use_ema: take the averaged weights where there are both.
        which: of a run: ``latest``, ``best`` or a step.

    Raises:
        CheckpointError: there is no checkpoint, it is damaged, or it holds no weights.
        PortbevError: the file cannot be written.
    """
    weights, meta, kind, left_out = _weights_of(source, use_ema=use_ema, which=which)
    stem = source.resolve().name if source.is_dir() else source.stem
    folder = (source.resolve().parent if out is None else out) if out is None or out.is_dir() else out.parent
    if out is not None and not out.is_dir():
        stem = out.name.removesuffix(f".{form}")
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / f"weights.{form}"
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
        if form == "safetensors":
            # one entry: safetensors writes several in an order of chance, and the hash would be another each time
            save_file(plain, made, metadata={"portbev": json.dumps(meta)})
        else:
            torch.save({"state_dict": plain, "meta": meta}, made)
        path = folder / f"{stem}-{file_digest(made)[:HEX]}.{form}"
        with atomic_write(path) as temporary:
            temporary.write_bytes(made.read_bytes())
    return Published(path, kind, len(plain), left_out)


def _weights_of(
    source: Path, *, use_ema: bool, which: str
) -> tuple[Mapping[str, Tensor], dict[str, str], str, list[str]]:
    """Weights, facts for the file, ``ema`` or ``model``, and what is left out."""
    checkpoint = _checkpoint(source, which)
    if checkpoint is None:
        weights, left_out = _of_file(source)
        return weights, {}, "model", left_out
    averaged = use_ema and checkpoint.ema is not None
    kind = "ema" if averaged else "model"
    config = checkpoint.meta.get("config", {})
    meta = {"config": str(config.get("name", "")), "step": str(checkpoint.step), "weights": kind}
    other = ["model"] if averaged else ["ema"] if checkpoint.ema is not None else []
    state = checkpoint.ema if averaged else checkpoint.model
    assert state is not None
    return state, meta, kind, [*other, "optimizer and training state"]


def _checkpoint(source: Path, which: str) -> Checkpoint | None:
    """The checkpoint in a folder; None where ``source`` is no folder."""
    if not source.is_dir():
        return None
    if (source / META).is_file():
        return load_checkpoint(source)
    if not (source / RUN).is_file() and not (source / CHECKPOINTS).is_dir():
        raise CheckpointError("no run and no checkpoint", where=str(source), cure="Name a run, a checkpoint or a file")
    checkpoints = Checkpoints(source / CHECKPOINTS)
    if which == "latest":
        found = checkpoints.newest([])
        if found is None:
            raise CheckpointError("there is no checkpoint yet", where=str(source), cure="Train on")
        return found
    best = checkpoints.best()
    step = best.step if which == "best" and best else int(which) if which.isdigit() else None
    if step not in checkpoints.steps():
        steps = ", ".join(map(str, checkpoints.steps())) or "none"
        raise PortbevError(f"there is no checkpoint {which!r}", where=str(source), cure=f"latest, best or of {steps}")
    return load_checkpoint(checkpoints.path(step))


def _of_file(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    content = read_weights_file(path)
    place = next((key for key in PLACES if isinstance(content.get(key), Mapping)), None)
    mapping: Mapping[str, Any] = content if place is None else content[place]
    weights = {str(name): tensor for name, value in mapping.items() if (tensor := tensor_of(value)) is not None}
    if not weights:
        cure = (
            f"Weights are looked for at the top and under {', '.join(PLACES)}; here are {', '.join(map(str, content))}"
        )
        raise CheckpointError("no weights where they usually are", where=str(path), cure=cure[:300])
    beside = [str(key) for key in content if key != place and (place is not None or key not in weights)]
    return weights, beside
