"""One optimizer step: forward and backward of each batch, clipping, update, average.

The host waits for the device once: before the update it reads the losses, the gradient's norm and whether to stop.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from portbev import lists
from portbev.errors import ConfigError, PortbevError
from portbev.models import Batch, MeanOverRanks, move_batch
from portbev.nn.dropout import set_dropout_step
from portbev.outputs import in_float32
from portbev.rng import key_of
from portbev.train import nonfinite
from portbev.train.buffers import PartBuffers, kept_buffers
from portbev.train.normalisers import Known, averages, hear
from portbev.train.optim import lr_factor, set_lr
from portbev.train.parts import Parts


@dataclass(frozen=True)
class Outcome:
    """What a step gave.

    Attributes:
        losses: the terms and ``total``, mean over batches and processes.
        grad_norm: before clipping.
        lr: the scheduled learning rate.
        skipped: the loss scaler left the update out.
        stop: some process was asked to stop.
    """

    losses: dict[str, float]
    grad_norm: float
    lr: float
    skipped: bool
    stop: bool


class Watcher:
    """Is told of what a step computes. This one does nothing; see :mod:`portbev.recording`."""

    def batch(self, moved: Batch, micro: int) -> Batch:
        """Batch number ``micro`` of the step is on the device; returns the one to go on with."""
        return moved

    def losses(self, terms: dict[str, Tensor], micro: int) -> None:
        """The loss terms of a batch, before their backward."""

    def gradients(self) -> None:
        """The parameters have their gradients: of all batches and processes, unscaled, not clipped."""

    def updated(self) -> None:
        """The optimizer has made its update, or left it out."""

    def refused(self) -> None:
        """A loss refused outputs that are not finite: the step ends, and what is computed now looks for the cause."""

    def averaged(self) -> None:
        """The weights were taken into their moving average, where there is one."""


class _RefusedLossError(Exception):
    """A loss raised an error over outputs that are not finite."""


class OptimizerStep:
    """Takes one step after the other.

    Args:
        asked_to_stop: asked in each step; all processes agree on the answer.
        watcher: is told of what is computed.
    """

    def __init__(self, parts: Parts, asked_to_stop: Callable[[], bool], watcher: Watcher | None = None) -> None:
        self.parts, self.config, self.comm = parts, parts.config, parts.comm
        self.asked_to_stop, self.watcher = asked_to_stop, watcher or Watcher()
        self.step = 0
        self._averages: list[list[float]] | None = None

    def take(self, batches: list[Batch], step: int) -> Outcome:
        """Take step number ``step`` (counted from 0) with ``batches``, whose gradients are accumulated."""
        parts, self.step = self.parts, step
        parts.model.train()
        lr = parts.lr * lr_factor(
            self.config.schedule, step, total=parts.schedule_steps, steps_per_epoch=parts.data.steps_per_epoch
        )
        set_lr(parts.optimizer, lr)
        found = self._all_backward(batches) if parts.shares.plain else self._backward_of_parts(batches)
        self._check_gradients()
        parts.scaler.unscale_(parts.optimizer)
        self.watcher.gradients()
        gradients = [w.grad for w in parts.model.parameters() if w.grad is not None]
        total_norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        losses, norm, stop = self._read(found, total_norm)
        self._check_finite(losses, batches)
        skipped = self._update(losses, batches, norm, total_norm)
        return Outcome(losses, norm, lr, skipped, stop)

    def rehearse(self, batches: list[Batch], step: int) -> None:
        """Let DDP settle how it groups gradients: it does so after its first pass.

        Sums of three and more are rounded by their place in a group. A run that is continued would begin with the first
        grouping, where one that was not stopped has the second, so the first steps of both would differ in their bits.
        """
        parts, self.step = self.parts, step
        if self.comm.size < 3 or self.config.train.find_unused_parameters:
            return  # two numbers have one sum; DDP does not group anew where parameters may be left out
        parts.model.train()
        with kept_buffers(parts.model):
            if not parts.shares.plain:
                self._averages = self._averages_of(batches, 0)
            self._backward(batches, 0)
            self._check_gradients()
        parts.optimizer.zero_grad(set_to_none=True)

    def _all_backward(self, batches: list[Batch]) -> list[dict[str, Tensor]]:
        """Sum and terms of the losses of each batch, whose gradients have been added; processes exchange the last."""
        found = []
        for number in range(len(batches)):
            last = number == len(batches) - 1
            with contextlib.nullcontext() if last or self.comm.size == 1 else self.parts.wrapped.no_sync():
                found.append(self._backward(batches, number))
        return found

    def _backward_of_parts(self, batches: list[Batch]) -> list[dict[str, Tensor]]:
        """The same where this process takes several parts of a batch in turn, each with its own running statistics."""
        model, count = self.parts.model, len(self.parts.shares.mine)
        self.comm.broadcast_tensors(model.buffers())  # as DDP does, but before there is a copy for each part
        buffers, found = PartBuffers(model, count), []
        for number in range(len(batches)):
            if number % count == 0:
                with kept_buffers(model):
                    self._averages = self._averages_of(batches, number)
            last = number == len(batches) - 1
            with (
                contextlib.nullcontext() if last or self.comm.size == 1 else self.parts.wrapped.no_sync(),
                buffers.of(number % count),
            ):
                found.append(self._backward(batches, number))
        buffers.settle()
        return found

    def _check_gradients(self) -> None:
        if self.comm.size > 1 and not self.config.train.find_unused_parameters and self._unused():
            raise self._without_gradient()  # its bucket was not averaged: the processes would drift apart

    def forward(self, batch: Batch, micro: int) -> dict[str, Tensor]:
        """Loss terms of the batch number ``micro`` of this process in the step."""
        parts = self.parts
        self._key_draws(micro)
        moved = self.watcher.batch(move_batch(batch, parts.device), micro)
        with parts.backend.autocast(self.config.compute.amp):
            outputs = parts.wrapped(moved)
        mean = self._mean()
        try:
            return parts.model.losses(in_float32(outputs), moved, mean_over_ranks=mean)
        except (RuntimeError, ValueError) as error:  # some losses refuse NaN themselves
            if nonfinite.all_finite(outputs):
                raise
            raise _RefusedLossError(str(error)) from error

    def _mean(self) -> MeanOverRanks | None:
        """What averages a normaliser over the parts of the batch."""
        if not self.parts.shares.plain:
            return MeanOverRanks(Known(self._averages or []).ask)
        return MeanOverRanks(self.comm.mean_vector) if self.comm.size > 1 else None

    def _averages_of(self, batches: list[Batch], first: int) -> list[list[float]]:
        """The averages that the losses will ask for of the global batch whose parts begin with number ``first``."""
        if self._averages == []:
            return []  # the losses average nothing
        parts, heard = self.parts, []
        for number in range(first, first + len(parts.shares.mine)):
            self._key_draws(number)
            moved = move_batch(batches[number], parts.device)

            def losses(mean: MeanOverRanks, moved: Batch = moved) -> None:
                with parts.backend.autocast(self.config.compute.amp):
                    outputs = parts.model(moved)
                parts.model.losses(in_float32(outputs), moved, mean_over_ranks=mean)

            heard.append(hear(losses))
        return averages(heard, parts.shares.parts, self.comm)

    def _key_draws(self, number: int) -> None:
        """Make the draws of batch ``number`` of this process depend on the step and its place in the step alone."""
        shares, seed = self.parts.shares, self.config.train.seed
        part, micro = shares.part_of(number), number // len(shares.mine)
        key = ("step", self.step, part) if micro == 0 else ("step", self.step, part, micro)
        torch.manual_seed(key_of(seed, *key) % 2**63)
        set_dropout_step(self.parts.model, self._batch_number(number), part)

    def _read(self, found: list[dict[str, Tensor]], norm: Tensor) -> tuple[dict[str, float], float, bool]:
        """Take from the device, at once: losses, mean over batches and processes; the norm; whether any is to stop."""
        sums: dict[str, Tensor] = {}
        divisor = self.parts.shares.divisor(len(found))
        for terms in found:
            for name, value in zip(terms, torch.stack(list(terms.values())).float() / divisor, strict=True):
                sums[name] = sums[name] + value if name in sums else value
        losses = torch.stack(list(sums.values()))
        asked = losses.new_full((1,), float(self.asked_to_stop()))
        agreed = self.comm.mean_tensor(torch.cat([asked, losses]))
        stop, *means, length = torch.cat([agreed, norm.reshape(1).to(agreed.device)]).cpu().tolist()
        return dict(zip(sums, means, strict=True)), length, stop > 0

    def _backward(self, batches: list[Batch], micro: int) -> dict[str, Tensor]:
        """The sum ``total`` and the loss terms of one batch, whose gradient has been added to that of the step."""
        try:
            terms = self.forward(batches[micro], micro)
        except _RefusedLossError as error:
            self.watcher.refused()
            module = None if self._search_needs_all() else self._first_nonfinite(batches)
            text = f"a model output (the loss said: {' '.join(str(error).split())[:120]})"
            raise nonfinite.describe(self.step + 1, {}, _tokens(batches), module, what=text) from error
        except RuntimeError as error:
            if "find_unused_parameters" in str(error):  # DDP found it only now
                raise self._without_gradient() from error
            raise
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            what = f"a batch normalisation sees one value of each channel in training, which has no variance: {error}"
            raise ConfigError(
                what, where="train.batch_size", cure="Raise train.batch_size, or the inputs' size"
            ) from error
        self.watcher.losses(terms, micro)
        total = torch.stack(list(terms.values())).sum()
        self.parts.scaler.scale(total / self.parts.shares.divisor(len(batches))).backward()
        return {name: term.detach() for name, term in {"total": total, **terms}.items()}

    def _update(self, losses: dict[str, float], batches: list[Batch], norm: float, total_norm: Tensor) -> bool:
        """Clip, step, average. Returns whether the update was left out.

        ``norm`` is the gradient's before clipping, ``total_norm`` the same on the device.
        """
        parts, limit, scale = self.parts, self.config.train.clip_grad_norm, self.config.compute.loss_scale
        skipped = not math.isfinite(norm)
        if skipped and not parts.scaler.is_enabled():
            name = nonfinite.first_nonfinite_gradient(parts.model)
            raise nonfinite.describe(self.step + 1, losses, _tokens(batches), name, what="the gradient")
        if not skipped and limit is not None:  # an fp16 overflow: the scaler lowers its scale, if that is dynamic
            parameters = [w for w in parts.model.parameters() if w.grad is not None]
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, total_norm, foreach=True)
        parts.scaler.step(parts.optimizer)
        parts.scaler.update(None if scale == "dynamic" else float(scale))
        self.watcher.updated()
        parts.optimizer.zero_grad(set_to_none=True)
        if parts.ema is not None:
            parts.ema.update(parts.model)
            self.watcher.averaged()
        return skipped

    def _check_finite(self, losses: dict[str, float], batches: list[Batch]) -> None:
        """Stop before the update, with what a person needs to find the cause."""
        if not all(math.isfinite(value) for value in losses.values()):
            module = self._first_nonfinite(batches)
            raise nonfinite.describe(self.step + 1, losses, _tokens(batches), module, what="the loss")

    def _search_needs_all(self) -> bool:
        """Whether another forward pass would wait for processes that do not take it."""
        return self.comm.size > 1 and self.config.train.sync_batchnorm

    def _first_nonfinite(self, batches: list[Batch]) -> str | None:
        """The first module of this process with a non-finite output, in the same forward passes once more."""
        model = self.parts.model
        for number, batch in enumerate(batches):
            self._key_draws(number)
            moved = move_batch(batch, self.parts.device)
            with self.parts.backend.autocast(self.config.compute.amp):
                name = nonfinite.first_nonfinite_module(model, lambda moved=moved: model(moved))  # type: ignore[misc]
            if name is not None:
                return name
        return None

    def _batch_number(self, number: int) -> int:
        """The number of the global batch since the run began: dropout is keyed by it and by the place in the batch."""
        return self.step * self.config.train.accumulate + number // len(self.parts.shares.mine)

    def _unused(self) -> list[str]:
        return [name for name, w in self.parts.model.named_parameters() if w.requires_grad and w.grad is None]

    def _without_gradient(self) -> PortbevError:
        names = self._unused()
        shown = lists.named(names)
        return PortbevError(
            f"step {self.step + 1}: parameters without a gradient" + (f": {shown}" if shown else ""),
            where=f"process {self.comm.rank}",
            cure="If the model may leave parameters out of a step, set train.find_unused_parameters=true",
        )


def _tokens(batches: Sequence[Batch]) -> list[str]:
    return [token for batch in batches for token in batch["tokens"]]
