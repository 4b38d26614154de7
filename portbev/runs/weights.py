"""Weights from any checkpoint: ours, or one of an original implementation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from portbev.errors import CheckpointError
from portbev.models import DetectionModel, ModelFamily
from portbev.runs.checkpoint import EMA, META, MODEL, load_checkpoint
from portbev.runs.checkpoints import Checkpoints
from portbev.runs.tensors import load_weights, read_safetensors, read_torch


def load_any(
    path: Path, model: DetectionModel, family: ModelFamily, *, use_ema: bool = True, trust_pickle: bool = False
) -> tuple[str, list[str]]:
    """Load the weights of ``path`` into ``model``.

    Args:
        path: a checkpoint folder of portbev, a run directory (its newest checkpoint), a ``.safetensors`` file, or a
            file of ``torch.save`` as the original implementation writes it (Lightning or EMA).
        use_ema: prefer the averaged weights where there are both.
        trust_pickle: allow files whose reading executes code from them.

    Returns:
        ``ema`` or ``model``, and notes about what was read.

    Raises:
        CheckpointError: missing, truncated, foreign, or not fitting the model (lists the keys).
    """
    if path.is_dir():
        notes: list[str] = []
        if (path / META).is_file():
            checkpoint = load_checkpoint(path)
        else:
            newest = Checkpoints(path / "checkpoints").newest(notes)
            if newest is None:
                what = "holds no checkpoint"
                raise CheckpointError(what, where=str(path), cure="Name a checkpoint folder, a run directory or a file")
            checkpoint = newest
        averaged = use_ema and checkpoint.ema is not None
        state = checkpoint.ema if averaged and checkpoint.ema is not None else checkpoint.model
        return ("ema" if averaged else "model"), [*notes, *load_weights(model, state, str(path))]
    if not path.is_file():
        raise CheckpointError("no such checkpoint", where=str(path))
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path, trust_pickle=trust_pickle)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"holds a {type(content).__name__}, not a state_dict", where=str(path))
    kind = "ema" if path.name in (EMA, "ema.pth") else "model"
    if path.name in (EMA, MODEL) or set(content) == set(model.state_dict()):
        return kind, load_weights(model, _tensors(content, path), str(path))
    try:
        imported = family.import_state(content, model)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=error.where or str(path), cure=error.cure) from error
    load_weights(model, imported.state, str(path))
    return kind, imported.notes


def _tensors(content: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if len(state) != len(content):
        raise CheckpointError("holds other things than tensors", where=str(path))
    return state
