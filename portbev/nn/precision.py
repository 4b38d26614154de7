"""Parts of a model that compute in float32 under mixed precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from portbev.ops.precision import autocast_off


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context with autocast switched off for ``device``. The caller casts the inputs with ``.float()``."""
    return autocast_off(device.type)


@contextmanager
def without_gradient() -> Iterator[None]:
    """:func:`torch.no_grad`, after which a forward pass under the same autocast has its gradients.

    Autocast keeps the weights that it casts for the rest of its region, and older torch (2.8) those cast without a
    gradient too: the layers that ran here would get none afterwards, without a word.
    """
    with torch.no_grad():
        yield
    torch.clear_autocast_cache()
