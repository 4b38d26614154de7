"""Dropout layers whose masks are keyed by (seed, module, step)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from portbev.ops import dropout
from portbev.rng import key_of

_PART_STRIDE = 0x9E3779B9  # odd and large, so that the sites of a layer's parts are far from those of other layers


class Dropout(nn.Module):
    """``nn.Dropout`` whose mask depends on a key alone (:func:`portbev.ops.dropout`): seed, module, step and part.

    Args:
        p: probability of zeroing an element.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p, self.seed, self.site, self.step, self.part = p, 0, 0, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        site = self.site + self.part * _PART_STRIDE
        return dropout(x, self.p, training=self.training, seed=self.seed, site=site, step=self.step)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def prepare_dropout(model: nn.Module, seed: int) -> None:
    """Give every :class:`Dropout` of ``model`` its key: the run's seed and the module's qualified name."""
    for name, module in model.named_modules():
        if isinstance(module, Dropout):
            module.seed, module.site = seed, key_of(name) & 0xFFFFFFFF


@contextlib.contextmanager
def dropout_part(model: nn.Module, part: int) -> Iterator[None]:
    """Within the body, every :class:`Dropout` of ``model`` draws the mask of part number ``part``.

    For inputs that pass through the model in several parts, which would otherwise all have the same mask. An input that
    is not divided is part 0.
    """
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    for layer in layers:
        layer.part = part
    try:
        yield
    finally:
        for layer in layers:
            layer.part = 0


def set_dropout_step(model: nn.Module, step: int) -> None:
    """Move every :class:`Dropout` of ``model`` to forward pass number ``step``."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.step = step
