"""Weights that others trained: checkpoints matched by key name, and image backbones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from portbev.errors import CheckpointError
from portbev.nn.resnet import unread_weights

AVERAGES = ("ema_state_dict", "state_dict_ema", "ema")
"""Keys under which checkpoints keep a moving average of the weights beside the weights."""
MAX_LISTED = 10  # names in a message before "and n more"


@dataclass
class Imported:
    """A checkpoint's weights under the model's own keys, and what a person should know about the checkpoint."""

    state: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


def fit_state(
    checkpoint: Mapping[str, Any],
    model: nn.Module,
    *,
    names: Mapping[str, str] | None = None,
    wrappers: Sequence[str] = ("module.", "model."),
) -> Imported:
    """The weights in a checkpoint under the model's own keys, on the host and in the model's dtypes.

    The checkpoint must hold every key of the model in the model's shape, and no other key but those of stages that a
    backbone of the model ends before; a note counts them.

    Args:
        checkpoint: a mapping with ``state_dict``, or the weights themselves. If it holds a moving average of the
            weights under one of :data:`AVERAGES`, the average is read. The second copy that OpenMMLab's EMA hook
            writes among the weights (``ema_`` and the name with underscores) is ignored, as OpenMMLab's loaders do.
        names: maps the checkpoint's name of each weight to the model's key; None: the names are the same.
        wrappers: prefixes that containers such as DataParallel put before the names; all repetitions are removed.

    Raises:
        CheckpointError: no weights in it; missing, unexpected or misshaped keys, listed.
    """
    raw, notes = _weights(checkpoint)
    weights = {_strip(key, wrappers): value for key, value in raw.items() if isinstance(value, Tensor)}
    notes += leave_unread(weights, model)
    expected = model.state_dict()
    names = names or {key: key for key in expected}
    ema_copies = {"ema_" + name.replace(".", "_") for name in names} & weights.keys()
    if ema_copies:
        notes.append(f"{len(ema_copies)} shadow weights of an EMA hook left aside")
    problems = _summarise("missing", [name for name in names if name not in weights])
    problems += _summarise("unexpected", [name for name in weights if name not in names and name not in ema_copies])
    shapes = [
        f"{name} {tuple(weights[name].shape)} for {tuple(expected[key].shape)}"
        for name, key in names.items()
        if name in weights and weights[name].shape != expected[key].shape
    ]
    problems += _summarise("misshaped", shapes)
    if problems:
        cure = "The configuration must be the one that the checkpoint was trained with"
        raise CheckpointError("does not fit the model: " + "; ".join(problems), cure=cure)
    state = {key: weights[name].detach().to("cpu", expected[key].dtype) for name, key in names.items()}
    notes += [f"{name} {checkpoint[name]}" for name in ("epoch", "global_step") if name in checkpoint]
    return Imported(state, notes)


def leave_unread(weights: dict[str, Any], model: nn.Module) -> list[str]:
    """Take the weights of stages that a backbone of ``model`` ends before out of ``weights``; a note says so."""
    unread = unread_weights(model, weights)
    for name in unread:
        del weights[name]
    return [f"{len(unread)} weights of stages that the model does not read left aside"] if unread else []


def load_resnet(network: nn.Module, path: str) -> list[str]:
    """Load torchvision's ResNet weights (``.pth`` or ``.safetensors``), without the classifier, into an image backbone.

    Returns:
        Notes on what was left aside.

    Raises:
        CheckpointError: the file cannot be read or does not fit.
    """
    weights = {key: value for key, value in _read(path).items() if not key.startswith("fc.")}
    notes = leave_unread(weights, network)
    expected = network.state_dict()
    required = [key for key in expected if not key.endswith("num_batches_tracked")]
    misshaped = [key for key in required if key in weights and weights[key].shape != expected[key].shape]
    problems = _summarise("missing", [key for key in required if key not in weights])
    problems += _summarise("unexpected", [key for key in weights if key not in expected])
    problems += _summarise("misshaped", misshaped)
    if problems:
        raise CheckpointError("does not fit the image backbone: " + "; ".join(problems), where=path)
    network.load_state_dict(weights, strict=False)
    return notes


def _weights(checkpoint: Mapping[str, Any]) -> tuple[Mapping[str, Any], list[str]]:
    """The mapping that holds the weights to read, and notes on the choice."""
    for key in AVERAGES:
        average = checkpoint.get(key)
        if isinstance(average, Mapping) and any(isinstance(value, Tensor) for value in average.values()):
            return average, [f"the average of the weights ({key}) is read"]
    raw = checkpoint.get("state_dict", checkpoint)
    if not isinstance(raw, Mapping) or not any(isinstance(value, Tensor) for value in raw.values()):
        raise CheckpointError("holds no weights", cure="Give a checkpoint with a 'state_dict'")
    return raw, []


def _strip(key: str, wrappers: Sequence[str]) -> str:
    while wrapper := next((w for w in wrappers if key.startswith(w)), ""):
        key = key.removeprefix(wrapper)
    return key


def _read(path: str) -> dict[str, Tensor]:
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"cannot be read: {error}".splitlines()[0], where=path) from error
    return dict(content.get("state_dict", content))


def _summarise(problem: str, names: Iterable[str]) -> list[str]:
    """One message with the number of ``names`` and the first of them, or none where there are no names."""
    names = list(names)
    if not names:
        return []
    rest = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return [f"{len(names)} {problem} ({', '.join(names[:MAX_LISTED])}{rest})"]
