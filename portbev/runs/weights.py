"""Weights from any checkpoint: ours, or one of an original implementation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from portbev.errors import CheckpointError
from portbev.models import DetectionModel, ModelFamily
from portbev.nn.names import without_averages
from portbev.nn.pretrained import Imported, fit_state
from portbev.runs.checkpoint import EMA, META, MODEL, load_checkpoint
from portbev.runs.checkpoints import Checkpoints
from portbev.tensorfiles.reading import read_weights_file


def load_any(
    path: Path, model: DetectionModel, family: ModelFamily, *, use_ema: bool = True, partial: bool = False
) -> tuple[str, list[str]]:
    """Load the weights of ``path`` into ``model``. Nothing of the file is executed.

    Args:
        path: a checkpoint folder of portbev, a run directory (its newest checkpoint), or any file or folder of weights
            that :func:`portbev.tensorfiles.reading.read_file` reads, with names of ours or of the original
            implementation in any nesting.
        use_ema: prefer the averaged weights where there are both.
        partial: take the weights that fit, and note what does not.

    Returns:
        ``ema`` or ``model``, and notes about what was read.

    Raises:
        CheckpointError: missing, truncated, foreign, or not fitting the model (lists the keys).
    """
    checkpoint = _of_ours(path)
    try:
        if checkpoint is not None:
            content, kind, notes = _chosen(*checkpoint, use_ema=use_ema)
            imported = fit_state(content, model, partial=partial)
        else:
            content, notes = read_weights_file(path), []
            content = content if use_ema else without_averages(content)
            kind = "ema" if path.name in (EMA, "ema.pth") else "model"
            if path.name in (EMA, MODEL) or set(content) == set(model.state_dict()):
                imported = fit_state(content, model, partial=partial)
            else:
                imported = _imported(family, content, model, partial=partial)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=error.where or str(path), cure=error.cure) from error
    _put(model, imported, path)
    return kind, [*notes, *imported.notes]


def _imported(family: ModelFamily, content: Mapping[str, Any], model: DetectionModel, *, partial: bool) -> Imported:
    if not partial:  # a family that takes all or nothing need not know the word
        return family.import_state(content, model)
    if "partial" not in inspect.signature(family.import_state).parameters:
        what = f"the model family {family.name!r} takes whole checkpoints only"
        raise CheckpointError(what, cure="Leave out --init-partial")
    return family.import_state(content, model, partial=True)


def _of_ours(path: Path) -> tuple[Any, list[str]] | None:
    """The checkpoint in a checkpoint folder or run directory of ours, and notes; None for anything else."""
    if not path.is_dir():
        return None
    if (path / META).is_file():
        return load_checkpoint(path), []
    notes: list[str] = []
    runs = path if path.name == "checkpoints" else path / "checkpoints"
    newest = Checkpoints(runs).newest(notes)
    return None if newest is None else (newest, notes)


def _chosen(checkpoint: Any, notes: list[str], *, use_ema: bool) -> tuple[Mapping[str, Any], str, list[str]]:
    averaged = use_ema and checkpoint.ema is not None
    state = checkpoint.ema if averaged else checkpoint.model
    # under a key without meaning, so that no name of a mapping is taken for an average of the weights
    return {"state_dict": state, "meta": checkpoint.meta.get("config", {})}, "ema" if averaged else "model", notes


def _put(model: DetectionModel, imported: Imported, path: Path) -> None:
    try:
        with torch.no_grad():
            model.load_state_dict(imported.state)
    except RuntimeError as error:
        text = " ".join(str(error).split())[:300]
        raise CheckpointError(f"does not fit the model: {text}", where=str(path)) from error
