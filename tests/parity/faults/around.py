"""Faults of what stands around the model: pictures, batches, the optimizer, the exchange of gradients.

Each is a context: while inside, every training step of the process has the fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch.distributed as dist
from torch import nn


@contextmanager
def shifted_resizing() -> Iterator[None]:
    """Pixel corners are taken for pixel centres where pictures are resized: a shift of half a pixel."""

    def resize(image: Any, size: tuple[int, int], interpolation: int) -> Any:
        scale = np.array([size[0] / image.shape[1], size[1] / image.shape[0]])
        matrix = np.array([[scale[0], 0, 0], [0, scale[1], 0]])
        return cv2.warpAffine(image, matrix, size, flags=interpolation, borderMode=cv2.BORDER_REPLICATE)

    names = {name: getattr(cv2, name) for name in dir(cv2) if not name.startswith("__")}
    with mock.patch("portbev.data.pictures.pixels.cv2", SimpleNamespace(**{**names, "resize": resize})):
        yield


@contextmanager
def repeated_batch() -> Iterator[None]:
    """The second rank reads the batches of the first."""
    from portbev.data import loader

    right = loader.batch_indices

    def wrong(*arguments: Any, rank: int = 0, **how: Any) -> list[list[int]]:
        return right(*arguments, rank=0, **how)

    with mock.patch.object(loader, "batch_indices", wrong):
        yield


@contextmanager
def other_decay_of_biases() -> Iterator[None]:
    """Vectors get ten times the weight decay that the configuration says."""
    from portbev.train import optim

    right = optim.parameter_groups

    def wrong(section: Any, parameters: Any, lr: float) -> list[dict[str, Any]]:
        groups = []
        for group in right(section, parameters, lr):
            weights: Any = group["params"]
            groups.append({**group, "params": [w for w in weights if w.dim() > 1]})
            vectors = [w for w in weights if w.dim() <= 1]
            groups.append({**group, "params": vectors, "weight_decay": 10 * section.weight_decay})
        return groups

    with mock.patch.object(optim, "parameter_groups", wrong):
        yield


class _Summing(nn.parallel.DistributedDataParallel):
    """Adds the gradients of the ranks up and does not divide by their number."""

    def __init__(self, *arguments: Any, **how: Any) -> None:
        super().__init__(*arguments, **how)
        self.register_comm_hook(None, _sum)


def _sum(state, bucket):  # type: ignore[no-untyped-def]  # torch refuses annotations that are text
    work = dist.all_reduce(bucket.buffer(), async_op=True).get_future()
    return work.then(lambda done: done.value()[0])


@contextmanager
def summed_gradients() -> Iterator[None]:
    """The all-reduce of gradients sums instead of averaging."""
    with mock.patch("torch.nn.parallel.DistributedDataParallel", _Summing):
        yield
