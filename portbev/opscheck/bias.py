"""A mean signed error: rounding goes up as often as down, a fault of a constant does not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUPS = 32
"""Into so many an axis is divided, for the spread of a mean whose errors are alike along an axis."""


@dataclass(frozen=True)
class Bias:
    """Errors e of values y, as e = gain * y, or as e = offset * rms(y).

    Attributes:
        gain: the slope of e over y, and its standard error.
        offset: the mean of e over the rms of y, and its standard error.
    """

    gain: float
    gain_error: float
    offset: float
    offset_error: float


def bias(error: Tensor, exact: Tensor, scale: Tensor, ratio: float, unit: float) -> Bias:
    """The bias of ``error``, with standard errors that hold where errors of a row or a channel are alike.

    Args:
        error: any shape, float64, zero where an element is not to be judged.
        exact: the same shape, zero there too.
        scale: the rounding of each element.
        ratio: of the error's rms to that of ``scale``.
        unit: of the dtype.
    """
    energy = float(exact.square().sum())
    if energy == 0.0:
        return Bias(0.0, 0.0, 0.0, 0.0)
    count, size = exact.numel(), (energy / exact.numel()) ** 0.5
    product = error * exact
    gain, offset = float(product.sum()) / energy, float(error.sum()) / (count * size)
    least = unit / 2 / max(1, _distinct(exact)) ** 0.5  # a number that is there many times is rounded once
    by_model = max(1.0, ratio) * float((scale * exact).square().sum()) ** 0.5 / energy
    plain = max(1.0, ratio) * float(scale.square().sum()) ** 0.5 / (count * size)
    gain_error = max(least, by_model, _spread(product - gain * exact.square()) / energy)
    offset_error = max(least, plain, _spread(error - error.mean()) / (count * size))
    return Bias(gain, gain_error, offset, offset_error)


def _spread(terms: Tensor) -> float:
    """The standard error of the sum of terms, when those with one index of an axis may be alike; the worst axis's."""
    worst = 0.0
    for axis in range(terms.dim()):
        length = terms.shape[axis]
        if length >= 8:
            sums = terms.sum([other for other in range(terms.dim()) if other != axis]) if terms.dim() > 1 else terms
            groups = torch.zeros(min(GROUPS, length), dtype=terms.dtype)
            groups.index_add_(0, torch.arange(length) % len(groups), sums)
            worst = max(worst, float(groups.var()) * len(groups))
    return float(worst**0.5)


def _distinct(values: Tensor) -> int:
    flat = values.flatten()
    return int(flat[:: max(1, len(flat) // 4096)].unique().numel())
