"""Normalisers of losses, averaged over parts of a batch that a process computes one after the other.

A loss may divide by a number that is averaged over the processes (``mean_over_ranks``). Where a process takes several
parts it must know the average before it has come to the last one. So the forward passes of all parts are made once
without gradients, only to hear what will be averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from portbev.comm import Comm
from portbev.models import MeanOverRanks


class Heard:
    """Hears what is to be averaged, and answers with what it gets."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []

    def ask(self, values: Sequence[float]) -> list[float]:
        self.calls.append(list(values))
        return list(values)


class Known:
    """Answers with averages that are known, in the order in which they were heard."""

    def __init__(self, answers: Sequence[Sequence[float]]) -> None:
        self._answers = [list(answer) for answer in answers]

    def ask(self, values: Sequence[float]) -> list[float]:
        return self._answers.pop(0)


def averages(parts: Sequence[Heard], count: int, comm: Comm) -> list[list[float]]:
    """The mean of each value over all ``count`` parts of a batch, in float32 as :meth:`Comm.mean_vector` takes it.

    Args:
        parts: what the parts of this process ask.
    """
    flat = [[value for call in part.calls for value in call] for part in parts]
    summed = comm.sum_vector([sum(column) for column in zip(*flat, strict=True)])
    means = (torch.tensor(summed, dtype=torch.float32) / count).tolist()
    lengths = [len(call) for call in parts[0].calls]
    return [[means.pop(0) for _ in range(length)] for length in lengths]


def hear(forward: Callable[[MeanOverRanks], object]) -> Heard:
    """What the losses of a part average, by a pass without gradients."""
    heard = Heard()
    with torch.no_grad():
        forward(MeanOverRanks(heard.ask))
    return heard
