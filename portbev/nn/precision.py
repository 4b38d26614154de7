"""Parts of a model that compute in float32 under mixed precision."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from portbev.ops.precision import autocast_off


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context with autocast switched off for ``device``. The caller casts the inputs with ``.float()``."""
    return autocast_off(device.type)
