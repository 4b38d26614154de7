"""The registries that ``build_conv_layer`` and ``build_attention`` of an installed mmcv look into."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from portbev.compat.mmcv.changes import Changes
from portbev.compat.mmcv.names import ATTENTION, LAYERS, where


def register(changes: Changes) -> None:
    """Put portbev's layers in the place of mmcv's in every registry that is imported so far.

    mmcv 2 has one, mmengine's ``MODELS``; mmcv 1 ``CONV_LAYERS`` and ``ATTENTION``.
    """
    kinds = {**LAYERS, ATTENTION: ATTENTION}
    for registry, types in _registries():
        for kind in types:
            _, target = where(kinds[kind])
            changes.set_item(registry.module_dict, kind, getattr(importlib.import_module(target), kinds[kind]))


def _registries() -> list[tuple[Any, list[str]]]:
    """Registries that are there, each with the types that belong into it."""
    named = (
        ("mmengine.registry", "MODELS", [*LAYERS, ATTENTION]),
        ("mmcv.cnn.bricks.registry", "CONV_LAYERS", [*LAYERS]),
        ("mmcv.cnn.bricks.registry", "ATTENTION", [ATTENTION]),
    )
    found = ((getattr(sys.modules.get(module), name, None), types) for module, name, types in named)
    return [(registry, types) for registry, types in found if isinstance(getattr(registry, "module_dict", None), dict)]
