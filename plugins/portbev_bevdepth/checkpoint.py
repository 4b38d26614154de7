"""Checkpoints of the original implementation, by key name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from portbev.models import Imported
from portbev.nn.pretrained import fit_state

PREFIX = "model."


def import_state(checkpoint: Mapping[str, Any], model: nn.Module) -> Imported:
    """Weights of an official Lightning or EMA checkpoint (or of one written by :func:`export_state`) for ``model``.

    Every key of the model must be there with its shape, and nothing else. Optimizer state and hyperparameters are
    left alone. A bare state mapping, and keys without ``model.``, are taken too.

    Raises:
        CheckpointError: no weights in it; missing, unexpected or misshaped keys, listed.
    """
    state, notes = fit_state(checkpoint, model, wrappers=(PREFIX,))
    return Imported(state, notes)


def export_state(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """A checkpoint that the original implementation's loaders understand: ``state_dict`` with ``model.`` keys."""
    return {"state_dict": {PREFIX + key: value.detach().cpu() for key, value in model.state_dict().items()}}
