"""Buffers that a model computes from its configuration and that checkpoints hold all the same."""

from __future__ import annotations

from torch import nn

ATTRIBUTE = "derived_buffers"


def derived_buffers(model: nn.Module) -> set[str]:
    """Keys of the state whose values follow from the configuration, such as a grid's size.

    A module names its own in an attribute ``derived_buffers``, a tuple of names. Such values are never taken from a
    checkpoint and never keep it from being loaded.
    """
    return {
        f"{path}.{name}" if path else name
        for path, module in model.named_modules()
        for name in getattr(module, ATTRIBUTE, ())
    }
