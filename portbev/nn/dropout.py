"""Dropout layers whose masks are keyed by (seed, module, step), and in a step by the place in the global batch.

What a layer gets is taken to hold the samples of a batch one after the other, each with as many values. Then a part of
the batch, that of a rank for example, has the mask that it would have in the whole: it does not depend on the number of
ranks that share a batch, nor on the number of parts that it is computed in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn

from portbev.ops import dropout
from portbev.rng import key_of


class Dropout(nn.Module):
    """``nn.Dropout`` whose mask depends on a key alone (:func:`portbev.ops.dropout`): seed, module, step and place.

    Args:
        p: probability of zeroing an element.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p, self.seed, self.site, self.step, self.rank = p, 0, 0, 0, 0
        self.rows: tuple[int, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        first = self._first(x) if self.training else 0
        return dropout(x, self.p, training=self.training, seed=self.seed, site=self.site, step=self.step, first=first)

    def _first(self, x: Tensor) -> int:
        """How many values of the global batch lie before ``x``."""
        if self.rows is None:
            return self.rank * x.numel()
        begin, total = self.rows
        return (self.rank * total + begin) * (x.numel() // max(1, len(x)))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def prepare_dropout(model: nn.Module, seed: int) -> None:
    """Give every :class:`Dropout` of ``model`` its key: the run's seed and the module's qualified name."""
    for name, module in model.named_modules():
        if isinstance(module, Dropout):
            module.seed, module.site = seed, key_of(name) & 0xFFFFFFFF


@contextlib.contextmanager
def dropout_rows(model: nn.Module, begin: int, total: int) -> Iterator[None]:
    """Within the body, every :class:`Dropout` of ``model`` gets the rows from number ``begin`` on of ``total`` rows.

    For inputs that pass through the model in several parts, along their first axis: the mask is that of the whole.
    """
    layers = [module for module in model.modules() if isinstance(module, Dropout)]
    for layer in layers:
        layer.rows = (begin, total)
    try:
        yield
    finally:
        for layer in layers:
            layer.rows = None


def set_dropout_step(model: nn.Module, step: int, rank: int = 0) -> None:
    """Move every :class:`Dropout` of ``model`` to global batch number ``step``, of which it gets that of ``rank``."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.step, module.rank = step, rank
