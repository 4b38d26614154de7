"""Training: the loop, checkpoints, schedules, the run record.

The names below are imported when they are asked for: reading a run's record needs no model.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portbev.runs.record import Run, load_run
    from portbev.train.loop import train

__all__ = ["Run", "load_run", "train"]

_HOMES = {"Run": "portbev.runs.record", "load_run": "portbev.runs.record", "train": "portbev.train.loop"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
