"""The size of rounding: how large the error of a correctly rounded evaluation is, element by element.

A correctly rounded evaluation in a dtype is the exact operator, applied to operands that are each within half a unit in
the last place of those given, with its result rounded once. No evaluation can be asked to be better, and one that is
worse by an order of magnitude does something else than rounding. Its error is measured, not derived: the definition is
computed in float64 again and again with every operand moved at random within half a unit. That takes the condition of
each element into account: where terms cancel, rounding is large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Results = dict[str, Tensor]
"""Results and gradients by name."""

MOVES = 3
"""Evaluations with moved operands."""


def unit(dtype: torch.dtype) -> float:
    """Half a unit in the last place, relative: 2**-24 in float32, 2**-11 in float16, 2**-8 in bfloat16."""
    return float(torch.finfo(dtype).eps) / 2


def moved(operands: Mapping[str, Tensor], units: Mapping[str, float], generator: torch.Generator) -> Results:
    """Float64 operands (complex128 too), each number moved at random within ``units`` of its operand."""
    found = {}
    for name, value in operands.items():
        step = 2 * torch.rand(value.shape, dtype=torch.float64, generator=generator) - 1
        found[name] = value * (1 + units[name] * step)
    return found


def rounding(
    evaluate: Callable[[Mapping[str, Tensor]], Results],
    operands: Mapping[str, Tensor],
    units: Mapping[str, float],
    exact: Mapping[str, Tensor],
    dtypes: Mapping[str, torch.dtype],
    seed: int,
) -> Results:
    """The expected (root of the mean square) error of a correctly rounded evaluation, for each element of each result.

    Args:
        evaluate: the definition in float64, from operands to results by name, real ones.
        operands: float64.
        units: of each operand, see :func:`unit`.
        exact: ``evaluate(operands)``.
        dtypes: of each result as the device returns it.
    """
    generator = torch.Generator().manual_seed(seed)
    squares = {name: torch.zeros_like(value) for name, value in exact.items()}
    for _ in range(MOVES):
        for name, value in evaluate(moved(operands, units, generator)).items():
            squares[name] += (value - exact[name]).nan_to_num(0.0, 0.0, 0.0).square() / MOVES
    for name, value in exact.items():
        squares[name] += (unit(dtypes[name]) * value.nan_to_num(0.0, 0.0, 0.0)).square() / 3  # evenly within +-unit
    return {name: value.sqrt() for name, value in squares.items()}
