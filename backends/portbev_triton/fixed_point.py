"""Sums of float32 values whose bits do not depend on the order of their terms: whole numbers, added by integer atomics.

Every term is taken to a multiple of ``1 / scale``, a power of two so small that a term of the usual size keeps all the
bits that float32 has, and so large that no sum passes int64. Adding whole numbers is associative: whatever order a
device comes to them in, the sum is the same. Whole numbers have no NaN: a place that got a term which was not finite is
marked instead.

With ``count`` terms of at most ``bound`` a term is off by at most ``bound * count / 2**62``. For 2**16 terms that is
``bound * 2**-46``: terms down to ``bound * 2**-22`` are exact, where adding in float32 rounds each sum at ``2**-24`` of
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BITS = 62
"""Of a whole sum: one less than int64 has besides its sign, for terms that rounding took over their bound."""


class FixedPoint(NamedTuple):
    """Sums while they are added to by :func:`portbev_triton.source.fixed_point.add_fixed`."""

    sums: Tensor  # int64, in units of 1 / scale
    poisoned: Tensor  # int8, the same shape: 1 where a term was not finite
    scale: Tensor  # float32 powers of two, which broadcast with sums

    def settled(self) -> Tensor:
        """The sums in float32, NaN where a term was not finite."""
        return self.sums.float().div_(self.scale).masked_fill_(self.poisoned.view(torch.bool), float("nan"))


def fixed_point(shape: Sequence[int], bound: Tensor, count: int) -> FixedPoint:
    """Sums of nothing yet.

    Args:
        shape: of the sums.
        bound: what no finite term passes, on the device; a scalar, or of a shape that broadcasts with ``shape``. Where
            it passes float32, float32's largest is taken, which no finite term passes.
        count: how many terms a sum has at most.
    """
    sums = torch.zeros(tuple(shape), dtype=torch.int64, device=bound.device)
    return FixedPoint(sums, torch.zeros_like(sums, dtype=torch.int8), power_of_two(bound, count))


def power_of_two(bound: Tensor, count: int) -> Tensor:
    """The largest scale with which ``count`` terms of up to ``bound`` add up to less than ``2**BITS``, in float32."""
    bits = bound.float().clamp(max=torch.finfo(torch.float32).max).view(torch.int32)
    exponent = (bits >> 23) - 126  # bound < 2**exponent; torch.frexp has no form for ROCm
    power = BITS - max(count - 1, 0).bit_length() - exponent
    return ((power.clamp(-126, 126) + 127) << 23).view(torch.float32)  # made of its bits, since pow may round


def largest(tensor: Tensor, dim: int | tuple[int, ...] | None = None) -> Tensor:
    """The largest absolute value among those that are finite, along ``dim`` (None: of all), in float32; 0 of none."""
    values = torch.nan_to_num(tensor.detach().abs().float(), nan=0.0, posinf=0.0)
    if values.numel() == 0:
        return values.new_zeros(()) if dim is None else values.sum(dim)
    return values.amax() if dim is None else values.amax(dim)
