"""Weights from outside, by key name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from portbev.errors import CheckpointError

AVERAGES = ("ema_state_dict", "state_dict_ema", "ema")
"""Where checkpoints keep an average of the weights beside the weights."""
SHOWN = 10  # names listed before "and n more"


def fit_state(
    checkpoint: Mapping[str, Any],
    model: nn.Module,
    *,
    names: Mapping[str, str] | None = None,
    wrappers: Sequence[str] = ("module.", "model."),
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights in a checkpoint under the model's own keys.

    Every key of the model must be there with its shape, and nothing else.

    Args:
        checkpoint: a mapping with ``state_dict``, or the weights themselves. Where it holds an average of the weights
            under one of :data:`AVERAGES`, that is read. The second copy that OpenMMLab's EMA hook writes among the
            weights (``ema_`` and the name with underscores) is left, as its own loaders do.
        names: the checkpoint's name of each weight -> the model's key; None: they are the same.
        wrappers: prefixes that containers put before the names; taken off as often as they come.

    Returns:
        The state on the host in the model's dtypes, and what a person should know of the checkpoint.

    Raises:
        CheckpointError: no weights in it; missing, unexpected or misshaped keys, listed.
    """
    raw, notes = _weights(checkpoint)
    given = {_bare(key, wrappers): value for key, value in raw.items() if isinstance(value, Tensor)}
    own = model.state_dict()
    names = names or {key: key for key in own}
    shadows = {"ema_" + name.replace(".", "_") for name in names} & given.keys()
    if shadows:
        notes.append(f"{len(shadows)} shadow weights of an EMA hook left aside")
    problems = _list("missing", [name for name in names if name not in given])
    problems += _list("unexpected", [name for name in given if name not in names and name not in shadows])
    shapes = [
        f"{name} {tuple(given[name].shape)} for {tuple(own[key].shape)}"
        for name, key in names.items()
        if name in given and given[name].shape != own[key].shape
    ]
    problems += _list("misshaped", shapes)
    if problems:
        cure = "The configuration must be the one that the checkpoint was trained with"
        raise CheckpointError("does not fit the model: " + "; ".join(problems), cure=cure)
    state = {key: given[name].detach().to("cpu", own[key].dtype) for name, key in names.items()}
    notes += [f"{name} {checkpoint[name]}" for name in ("epoch", "global_step") if name in checkpoint]
    return state, notes


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


def _weights(checkpoint: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    for key in AVERAGES:
        inner = checkpoint.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            return inner, [f"the average of the weights ({key}) is read"]
    raw = checkpoint.get("state_dict", checkpoint)
    if not isinstance(raw, Mapping) or not any(isinstance(value, Tensor) for value in raw.values()):
        raise CheckpointError("holds no weights", cure="Give a checkpoint with a 'state_dict'")
    return raw, []


def _bare(key: str, wrappers: Sequence[str]) -> str:
    while wrapper := next((w for w in wrappers if key.startswith(w)), ""):
        key = key.removeprefix(wrapper)
    return key


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
