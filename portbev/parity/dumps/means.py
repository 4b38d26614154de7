"""What a tensor's sums and figures are made with: the compiled pass, NumPy or torch, by where it is and how large."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from portbev.parity.dumps.content import BYTES, Content, small_sums
from portbev.parity.dumps.figures import Figures, small_figures
from portbev.parity.dumps.one_pass import seek_one_pass
from portbev.parity.dumps.room import Room
from portbev.parity.dumps.signs import SMALL


class Made(NamedTuple):
    """Sums of the content and figures, which may still be on the tensor's device."""

    sums: Tensor | NDArray[np.int64]
    figures: Tensor | NDArray[np.float64] | None


class Means:
    """Makes sums and figures of one tensor after another.

    Args:
        compiled: use the compiled pass for large tensors on the host, where it can be had; torch computes otherwise.
    """

    def __init__(self, *, compiled: bool = True) -> None:
        self._room = Room()
        self._one_pass = seek_one_pass().one_pass if compiled else None

    def measure(self, flat: Tensor, *, figures: bool) -> Made:
        """Of a tensor (n,), contiguous, n > 0."""
        if flat.device.type == "cpu":
            if flat.numel() <= SMALL:
                return Made(small_sums(flat), small_figures(flat) if figures else None)
            if self._one_pass is not None and (not figures or self._one_pass.has(flat.dtype)):
                return Made(*self._one_pass(flat, figures=figures))
        return self._by_torch(flat, figures)

    def _by_torch(self, flat: Tensor, figures: bool) -> Made:
        """In pieces of two megabytes: each is hashed and read while it lies in the cores' caches."""
        content = Content(flat, self._room)
        told = Figures(flat, self._room) if figures else None
        size = flat.element_size()
        for begin in range(0, flat.numel() * size, BYTES):
            end = min(begin + BYTES, flat.numel() * size)
            content.take(begin, end)
            if told is not None:
                told.take(begin // size, end // size)
        return Made(content.sums(), None if told is None else told.result())
