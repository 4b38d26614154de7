"""A step that is taken again: from the same state, with everything moved by one unit in the last place."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from portbev.models import Batch
from portbev.rng import key_of

_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


def move_by_one_ulp(tensor: Tensor, *key: int | str) -> Tensor:
    """Every element up or down to the next number of its dtype, by a coin that depends on ``key`` alone.

    Zero and what is not finite stay: a zero is exact (a mask, padding), and its neighbours are no rounding of it.
    """
    host = tensor.detach().to("cpu", copy=True).contiguous()
    coins = torch.Generator().manual_seed(key_of("ulp", *key) % 2**63)
    bits = host.view(_BITS[host.element_size()])
    step = torch.randint(0, 2, host.shape, generator=coins, dtype=bits.dtype).mul_(2).sub_(1)
    moved = (bits + step).view(host.dtype)
    return torch.where(host.isfinite() & (host != 0) & moved.isfinite(), moved, host).to(tensor.device)


def moved_batch(batch: Batch, seed: int, micro: int) -> Batch:
    """The batch with its floating tensors moved by one unit in the last place.

    What the data's workers prepared stays: targets have values that are compared for equality.
    """
    floating = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    moved = {
        name: move_by_one_ulp(value, seed, "batch", micro, name)
        for name, value in batch.items()
        if isinstance(value, Tensor) and value.dtype in floating
    }
    return cast(Batch, {**batch, **moved})


@torch.no_grad()
def move_weights(model: nn.Module, seed: int) -> None:
    """Move every floating parameter and buffer by one unit in the last place."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point():
            tensor.copy_(move_by_one_ulp(tensor, seed, name))


class Snapshot:
    """The state of all that a step changes, on the host."""

    def __init__(self, model: nn.Module, optimizer: Any = None, scaler: Any = None, ema: Any = None) -> None:
        self._model, self._optimizer, self._scaler, self._ema = model, optimizer, scaler, ema
        named = [*model.named_parameters(), *model.named_buffers()]
        self._tensors = [(tensor, tensor.detach().clone()) for _, tensor in named]
        self._states = [None if part is None else copy.deepcopy(part.state_dict()) for part in (optimizer, scaler)]
        self._average = None if ema is None else (ema.updates, {k: v.clone() for k, v in ema.state.items()})
        self._random = torch.get_rng_state()

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back, bit for bit."""
        for tensor, kept in self._tensors:
            tensor.copy_(kept)
        for parameter in self._model.parameters():
            parameter.grad = None
        if self._optimizer is not None:
            self._optimizer.state.clear()
            self._optimizer.load_state_dict(copy.deepcopy(self._states[0]))
        if self._scaler is not None and self._scaler.is_enabled():
            self._scaler.load_state_dict(copy.deepcopy(self._states[1]))
        if self._average is not None:
            self._ema.updates = self._average[0]
            self._ema.load(self._average[1])
        torch.set_rng_state(self._random)


@contextmanager
def as_it_was(snapshot: Snapshot) -> Iterator[None]:
    """The state of ``snapshot`` when the block begins and when it ends."""
    snapshot.restore()
    try:
        yield
    finally:
        snapshot.restore()
