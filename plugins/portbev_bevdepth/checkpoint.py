"""Checkpoints of the original implementation, whose keys are ours below ``model.``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from portbev.nn.pretrained import Imported, fit_state

PREFIX = "model."


def import_state(checkpoint: Mapping[str, Any], model: nn.Module, *, partial: bool = False) -> Imported:
    """Weights of an official Lightning or EMA checkpoint, or of one that :func:`export_state` wrote, for ``model``.

    The checkpoint must hold every key of the model in the model's shape, and no other key, unless ``partial``. A
    mapping of the weights alone, other nestings, and keys without ``model.``, are accepted too (see
    :func:`portbev.nn.pretrained.fit_state`). Optimizer state and hyperparameters are ignored. The grid's buffers are
    those of the model's configuration.

    Raises:
        CheckpointError: no weights in it; missing, unexpected or misshaped keys, listed.
    """
    return fit_state(checkpoint, model, partial=partial)


def export_state(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """A checkpoint that the original implementation's loaders can read: ``state_dict`` with keys below ``model.``."""
    return {"state_dict": {PREFIX + key: value.detach().cpu() for key, value in model.state_dict().items()}}
