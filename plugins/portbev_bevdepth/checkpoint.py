"""Checkpoints of the original implementation, by key name. May import: torch, portbev.errors, portbev.models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from portbev.errors import CheckpointError
from portbev.models import Imported

PREFIX = "model."
SHOWN = 10  # names listed before "and n more"


def import_state(checkpoint: Mapping[str, Any], model: nn.Module) -> Imported:
    """Weights of an official Lightning or EMA checkpoint (or of one written by :func:`export_state`) for ``model``.

    Every key of the model must be there with its shape, and nothing else. Optimizer state and hyperparameters are
    left alone. A bare state mapping, and keys without ``model.``, are taken too.

    Raises:
        CheckpointError: no weights in it; missing, unexpected or misshaped keys, listed.
    """
    raw = checkpoint.get("state_dict", checkpoint)
    if not isinstance(raw, Mapping) or not any(isinstance(value, Tensor) for value in raw.values()):
        raise CheckpointError("holds no weights", cure="Give a checkpoint with a 'state_dict'")
    given = {key.removeprefix(PREFIX): value for key, value in raw.items() if isinstance(value, Tensor)}
    own = model.state_dict()
    problems = _list("missing", [key for key in own if key not in given])
    problems += _list("unexpected", [key for key in given if key not in own])
    shapes = [
        f"{key} {tuple(given[key].shape)} for {tuple(value.shape)}"
        for key, value in own.items()
        if key in given and given[key].shape != value.shape
    ]
    problems += _list("misshaped", shapes)
    if problems:
        cure = "The configuration must be the one that the checkpoint was trained with"
        raise CheckpointError("does not fit the model: " + "; ".join(problems), cure=cure)
    state = {key: given[key].detach().to("cpu", value.dtype) for key, value in own.items()}
    notes = [f"{name} {checkpoint[name]}" for name in ("epoch", "global_step") if name in checkpoint]
    return Imported(state, notes)


def export_state(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """A checkpoint that the original implementation's loaders understand: ``state_dict`` with ``model.`` keys."""
    return {"state_dict": {PREFIX + key: value.detach().cpu() for key, value in model.state_dict().items()}}


def load_resnet(network: nn.Module, path: str) -> None:
    """Start an image backbone from torchvision's ResNet weights (``.pth`` or ``.safetensors``); the classifier is left.

    Raises:
        CheckpointError: the file cannot be read or does not fit.
    """
    given = {key: value for key, value in _read(path).items() if not key.startswith("fc.")}
    own = network.state_dict()
    needed = [key for key in own if not key.endswith("num_batches_tracked")]
    problems = _list("missing", [key for key in needed if key not in given])
    problems += _list("unexpected", [key for key in given if key not in own])
    problems += _list("misshaped", [key for key in needed if key in given and given[key].shape != own[key].shape])
    if problems:
        raise CheckpointError("does not fit the image backbone: " + "; ".join(problems), where=path)
    network.load_state_dict(given, strict=False)


def _read(path: str) -> dict[str, Tensor]:
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"cannot be read: {error}".splitlines()[0], where=path) from error
    return dict(read.get("state_dict", read))


def _list(what: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    if not names:
        return []
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{len(names)} {what} ({', '.join(names[:SHOWN])}{rest})"]
