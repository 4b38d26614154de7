"""Streams: sequences of samples that one process must evaluate in order, for models with memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from portbev.data.base import Dataset


def share_streams(streams: Sequence[Sequence[int]], world_size: int) -> list[list[list[int]]]:
    """Distribute whole streams over the ranks.

    Streams are taken by falling length; each goes to the rank with the fewest samples so far, the first of equals.

    Returns:
        For each rank its streams, in the data set's order.
    """
    shares: list[list[int]] = [[] for _ in range(world_size)]
    loads = [0] * world_size
    for number in sorted(range(len(streams)), key=lambda n: -len(streams[n])):
        rank = loads.index(min(loads))
        shares[rank].append(number)
        loads[rank] += len(streams[number])
    return [[list(streams[number]) for number in sorted(share)] for share in shares]


def every_nth(dataset: Dataset, stride: int) -> Dataset:
    """Every ``stride``-th sample, or every ``stride``-th stream of a data set with streams, which are not divided."""
    streams = dataset.streams()
    if stride == 1:
        return dataset
    if streams is None:
        return dataset.subset(slice(None, None, stride))
    return dataset.subset(sorted(chain.from_iterable(streams[::stride])))
