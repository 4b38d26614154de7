"""Exponential moving average of the weights (BEVDepth, callbacks/ema.py)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from portbev.config.schema import EmaSection


class Ema:
    """Average of every floating entry of the state (batch statistics and buffers too); integers stay as they were.

    After update n the average is ``d * average + (1 - d) * weights`` with ``d = decay * (1 - exp(-n / ramp))``. The
    official quirk (``start_updates: null``) starts n at ``len(dataset) * epochs``, which makes d the plain ``decay``.

    Args:
        model: the average starts from its present state.
        updates: number of updates that count as done.
    """

    def __init__(self, model: nn.Module, section: EmaSection, updates: int) -> None:
        self.decay, self.ramp, self.updates = section.decay, section.ramp, updates
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's present state into the average."""
        self.updates += 1
        decay = self.decay * (1 - math.exp(-self.updates / self.ramp))
        weights = {key: value for key, value in model.state_dict().items() if value.dtype.is_floating_point}
        averages = [self.state[key] for key in weights]
        shares = torch._foreach_mul(list(weights.values()), 1 - decay)  # one call to the device for many tensors
        torch._foreach_mul_(averages, decay)
        torch._foreach_add_(averages, shares)

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a saved average, whose keys must be the model's."""
        for key, value in self.state.items():
            value.copy_(state[key])

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the averaged weights inside the block, and with its own, to the bit, after it."""
        own = {key: value.detach().clone() for key, value in model.state_dict().items()}
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)
