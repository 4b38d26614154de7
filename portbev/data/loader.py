"""Batches in an order that does not depend on the number of workers."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.utils import data as torch_data

from portbev.data.base import Dataset, Part
from portbev.data.streams import share_streams
from portbev.errors import ConfigError, DataError, PortbevError
from portbev.failures import explained, in_one_line
from portbev.models import Batch, Prepare
from portbev.rng import generator

_GRACE = 10  # seconds that a worker lives on after SIGTERM
_CURE = "Look at its files, or leave it out; --debug shows where it failed"


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
        with in_one_line():  # a worker that was killed
            for batch in self._loader:
                if isinstance(batch, _Failure):
                    raise batch.error from _ThereError(batch.trace)
                yield batch


def build_loader(
    dataset: Dataset,
    *,
    batch_size: int,
    workers: int,
    seed: int,
    epoch: int,
    part: Part,
    rank: int | Sequence[int] = 0,
    world_size: int = 1,
    start_batch: int = 0,
    prepare: Prepare | None = None,
    pin: bool = False,
) -> Loader:
    """The batches of an epoch from ``start_batch`` on (see :func:`batch_indices`), loaded by ``workers`` processes.

    Order and content do not depend on ``workers``. No global random state is read or changed.

    Args:
        rank: whose batches; of several ranks they come in turn.
        prepare: what is called on each batch where it is made; its result becomes the batch's ``prepared``.
        pin: put tensors into memory that the device copies from by itself.
    """
    streams = dataset.streams() if part == "eval" else None
    how: Any = {"batch_size": batch_size, "seed": seed, "epoch": epoch, "part": part, "world_size": world_size}
    ranks = [rank] if isinstance(rank, int) else rank
    shares = [batch_indices(len(dataset), rank=one, streams=streams, **how) for one in ranks]
    batches = [batch for together in zip(*shares, strict=True) for batch in together][start_batch:]
    return Loader(
        torch_data.DataLoader(
            _Epoch(dataset, epoch),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=partial(_collate, dataset.collate, prepare),
            pin_memory=pin,
            worker_init_fn=_one_thread if workers else None,
            generator=torch.Generator().manual_seed(0),  # without it PyTorch draws from its global generator
        ),
        batches,
    )


@dataclass(frozen=True)
class _Failure:
    """An error in a worker, and how it came about, as text: what else an error holds does not survive the way."""

    error: PortbevError
    trace: str


class _ThereError(Exception):
    """Shows in a traceback what happened in a worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


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
            return _Failure(error, traceback.format_exc())
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            said = explained(error) or DataError(f"cannot be read ({type(error).__name__}: {reason})")
            placed = type(said)(said.what, where=f"sample {self._token(int(index))}", cure=said.cure or _CURE)
            return _Failure(placed, traceback.format_exc())

    def _token(self, index: int) -> str:
        tokens = self.dataset.tokens
        return str(tokens[index]) if index < len(tokens) else str(index)


def _collate(collate: Callable[[list[Any]], Batch], prepare: Prepare | None, samples: list[Any]) -> Batch | _Failure:
    """The batch of ``samples``, or the first error among them."""
    failure = next((sample for sample in samples if isinstance(sample, _Failure)), None)
    if failure is not None:
        return failure
    batch = collate(samples)
    if prepare is not None:
        try:
            batch["prepared"] = prepare(batch)
        except PortbevError as error:
            return _Failure(error, traceback.format_exc())
    return batch


def _one_thread(worker: int) -> None:
    """Limit libraries to one thread in a worker, because the workers already run in parallel.

    Signals that ask a whole group of processes to stop leave it at work, because the run still finishes its step.
    """
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_GRACE))
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
