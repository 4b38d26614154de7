"""Which samples of a split are looked at, and those samples as requests."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.data import Dataset
from portbev.errors import DataError
from portbev.export.interface import Request, RequestForm


def order(dataset: Dataset, count: int) -> list[tuple[int, bool]]:
    """``count`` samples, or all if there are fewer, as (index, whether it begins a stream).

    Those of data without streams are spread evenly; streams are taken from their beginning, the first few of each of
    several, so that there are beginnings and continuations among them.

    Raises:
        DataError: ``count`` is not positive.
    """
    if count < 1:
        raise DataError("at least one sample is looked at", where="--samples")
    streams, total = dataset.streams(), len(dataset)
    if streams is None:
        count = min(count, total)
        return [(index * total // count, True) for index in range(count)]
    length = max(2, -(-count // 2))
    while sum(min(len(stream), length) for stream in streams) < min(count, total):
        length += 1
    taken: list[tuple[int, bool]] = []
    for stream in streams:
        part = [(index, place == 0) for place, index in enumerate(stream[:length])]
        taken += part[: count - len(taken)]
    return taken


class DatasetSamples:
    """Samples of an opened data set as requests, see :class:`portbev.export.interface.SampleSource`."""

    def __init__(self, dataset: Dataset, form: RequestForm) -> None:
        self._dataset, self._form = dataset, form
        self.tokens: Sequence[str] = dataset.tokens

    def request(self, index: int) -> Request:
        """The request that asks for sample ``index``."""
        return self._form.request(self._dataset, index)

    def order(self, count: int) -> list[tuple[int, bool]]:
        """``count`` samples to look at, as (index, whether it begins a stream)."""
        return order(self._dataset, count)
