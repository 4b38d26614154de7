"""Batches in an order that does not depend on the number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch.utils import data as torch_data

from portbev.data.base import Dataset, Part
from portbev.data.streams import share_streams
from portbev.errors import ConfigError, DataError, PortbevError
from portbev.models import Batch
from portbev.rng import generator


def batch_indices(
    count: int,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    part: Part,
    rank: int = 0,
    world_size: int = 1,
    streams: Sequence[Sequence[int]] | None = None,
) -> list[list[int]]:
    """The dataset indices of each of a rank's batches in an epoch.

    Training: a permutation keyed by (seed, epoch) is divided into global batches of ``world_size * batch_size``
    samples, of which each rank takes its slice. The last global batch is dropped if it is incomplete.

    Evaluation: indices ``rank::world_size``, each once. With ``streams``, a rank takes whole streams in order, one
    sample per batch (see :func:`portbev.data.streams.share_streams`).

    Raises:
        DataError: the training split is smaller than one global batch.
        ConfigError: there are streams, and more than one sample per batch.
    """
    if part == "eval" and streams is not None:
        if batch_size != 1:
            raise ConfigError(
                f"{batch_size} samples a batch, but this data is evaluated as streams, one sample after the other",
                where="eval.batch_size",
                cure="Set eval.batch_size=1",
            )
        return [[index] for stream in share_streams(streams, world_size)[rank] for index in stream]
    if part == "eval":
        indices = list(range(rank, count, world_size))
        return [indices[begin : begin + batch_size] for begin in range(0, len(indices), batch_size)]
    global_size = world_size * batch_size
    if count < global_size:
        raise DataError(
            f"{count} training samples do not fill one global batch of {world_size} x {batch_size}",
            cure="Lower train.batch_size or train on more data",
        )
    order = generator(seed, "order", epoch).permutation(count)
    starts = range(rank * batch_size, count // global_size * global_size, global_size)
    return [order[begin : begin + batch_size].tolist() for begin in starts]


class Loader:
    """Batches of one epoch. ``len()`` is their number; each ``iter()`` starts again with the first one.

    Attributes:
        batches: the dataset indices of each batch.
    """

    def __init__(self, loader: torch_data.DataLoader[Any], batches: list[list[int]]) -> None:
        self._loader, self.batches = loader, batches

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._loader:
            if isinstance(batch, PortbevError):
                raise batch
            yield batch


def build_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    workers: int,
    seed: int,
    epoch: int,
    part: Part,
    rank: int = 0,
    world_size: int = 1,
    start_batch: int = 0,
) -> Loader:
    """The batches of an epoch from ``start_batch`` on (see :func:`batch_indices`), loaded by ``workers`` processes.

    Order and content do not depend on ``workers``. No global random state is read or changed.
    """
    batches = batch_indices(
        len(dataset),
        batch_size=batch_size,
        seed=seed,
        epoch=epoch,
        part=part,
        rank=rank,
        world_size=world_size,
        streams=dataset.streams() if part == "eval" else None,
    )[start_batch:]
    return Loader(
        torch_data.DataLoader(
            _Epoch(dataset, epoch),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=partial(_collate, dataset.collate),
            worker_init_fn=_one_thread if workers else None,
            generator=torch.Generator().manual_seed(0),  # without it PyTorch draws from its global generator
        ),
        batches,
    )


class _Epoch(torch_data.Dataset[Any]):
    """The samples of one epoch.

    An error is returned in place of the sample, because PyTorch turns one that a worker raises into a traceback.
    """

    def __init__(self, dataset: Dataset, epoch: int) -> None:
        self.dataset, self.epoch = dataset, epoch

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset.sample(int(index), self.epoch)
        except PortbevError as error:
            return error


def _collate(collate: Callable[[list[Any]], Batch], samples: list[Any]) -> Batch | PortbevError:
    """The batch of ``samples``, or the first error among them."""
    return next((sample for sample in samples if isinstance(sample, PortbevError)), None) or collate(samples)


def _one_thread(worker: int) -> None:
    """Limit libraries to one thread in a worker, because the workers already run in parallel."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
