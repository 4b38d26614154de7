"""How steps are computed where that is not the plain way: said at the start and kept in the record."""

from __future__ import annotations

from typing import Any

import torch

from portbev.backend import Backend
from portbev.config import RunConfig
from portbev.config.schema import ComputeSection
from portbev.train.optim import why_not_fused

_AS_ASKED = (
    "batches are loaded into pinned memory",
    "compute.pin_memory: an emulated device has no use",
    "compute.fused_optimizer: adamw updates",
    "compute.fused_optimizer: sgd updates",
    "CAN bus: read from can_bus/",
)
"""How notes begin that say nothing but that all is as it was asked for."""


def unusual(notes: list[str]) -> list[str]:
    """Those of the record's notes that a person must be told: not that all is as it was asked for."""
    return [note for note in notes if not note.startswith(_AS_ASKED)]


def transfers(backend: Backend, compute: ComputeSection) -> list[str]:
    """What is said of pinned memory; nothing where it was not asked for or the device is the host."""
    if not backend.pins_memory or compute.pin_memory == "off":
        return []
    if backend.pins(compute):
        return ["batches are loaded into pinned memory, which the device copies from by itself"]
    return ["compute.pin_memory: an emulated device has no use for pinned memory; batches are not pinned"]


def fused_update(config: RunConfig, device: torch.device) -> tuple[bool, list[str]]:
    """Whether the optimizer is the fused one, and what is said of it."""
    if not config.compute.fused_optimizer:
        return False, []
    reason = why_not_fused(config.optimizer, device)
    if reason is not None:
        return False, [f"compute.fused_optimizer: the update is not fused: {reason}"]
    return True, [f"compute.fused_optimizer: {config.optimizer.name} updates by torch's fused kernel"]


def take_up(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a saved state, but for the way of updating: that is this run's."""
    ways = {name: optimizer.defaults[name] for name in ("foreach", "fused")}
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group.update(ways)
