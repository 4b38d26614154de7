"""Buffers of a model (running statistics) where one process computes several parts of a batch, or only tries a pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class PartBuffers:
    """The buffers of each part that a process takes, as they would be with a process for each.

    All begin a step with the same ones, as DDP gives them out, and each part's forward passes move its own. After the
    step the model has those of the first part.

    Args:
        parts: how many there are.
    """

    def __init__(self, model: nn.Module, parts: int) -> None:
        self._live = list(model.buffers())
        self._own = [self._copies()] * parts

    @contextmanager
    def of(self, part: int) -> Iterator[None]:
        """The model has the buffers of ``part``, counted among this process's, and they keep what becomes of them."""
        self._put(self._own[part])
        try:
            yield
        finally:
            self._own[part] = self._copies()

    def settle(self) -> None:
        """The model has the buffers of the first part."""
        self._put(self._own[0])

    def _copies(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self._live]

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for buffer, value in zip(self._live, values, strict=True):
            buffer.copy_(value)


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Afterwards the buffers are what they were."""
    before = PartBuffers(model, 1)
    try:
        yield
    finally:
        before.settle()
