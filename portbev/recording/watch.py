"""Follows a training step: batch, loss terms, gradients of parameters, update, what is there after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from portbev.models import Batch
from portbev.recording.bystanders import old_objects_left_alone
from portbev.recording.calls import OperatorCalls
from portbev.recording.modules import watched_modules
from portbev.recording.recorder import Recorder
from portbev.recording.values import as_tensor, as_text, leaves
from portbev.train.ema import Ema
from portbev.train.step import Watcher

BATCH, LOSSES = "(batch)", "(losses)"
Moving = Callable[[Batch, int], Batch]


class StepWatcher(Watcher):
    """Records one step of ``model``.

    Args:
        moving: what a batch is replaced by before it is used: (batch, its number) -> batch.
        ema: the average of the weights, if there is one.
    """

    def __init__(
        self, model: nn.Module, recorder: Recorder, moving: Moving | None = None, ema: Ema | None = None
    ) -> None:
        self.model, self.recorder, self._moving, self._ema = model, recorder, moving, ema
        self._local: dict[str, list[int]] = {}
        self._before: dict[str, Tensor] = {}

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The step is taken inside."""
        self.state("parameter", "buffer")
        with ExitStack() as open_, torch.compiler.set_stance("force_eager"):  # compiled parts call no hooks inside
            for name, parameter in self.model.named_parameters():
                if parameter.requires_grad:
                    open_.callback(parameter.register_hook(self._local_grad(name, parameter)).remove)
            open_.enter_context(old_objects_left_alone())
            open_.enter_context(watched_modules(self.model, self.recorder, LOSSES))
            open_.enter_context(OperatorCalls(self.recorder))
            open_.callback(self.recorder.flush)  # a step that ends early, too
            yield

    def batch(self, moved: Batch, micro: int) -> Batch:
        moved = moved if self._moving is None else self._moving(moved, micro)
        record_batch(self.recorder, moved)
        self.recorder.place, self.recorder.listening = "", True
        return moved

    def losses(self, terms: dict[str, Tensor], micro: int) -> None:
        self.recorder.listening = False
        for name, term in terms.items():
            of = self.recorder.known.of(term)
            inputs = [] if of is None else [of]
            self.recorder.add(LOSSES, name, "loss", 0, term, inputs, consumes=False)

    def gradients(self) -> None:
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                local = self._local.get(name, [])
                n = self.recorder.add(name, "", "parameter.grad", 0, parameter.grad, local, consumes=False)
                self.recorder.known.put(parameter.grad, n)
            if parameter.requires_grad:
                self._before[name] = parameter.detach().clone()

    def updated(self) -> None:
        self._clipped()
        grads = self.recorder.places("parameter.clipped")
        for name, parameter in self.model.named_parameters():
            if name in self._before:
                inputs = [grads[name]] if name in grads else []
                before = self._before.pop(name)
                change = torch.sub(parameter.detach(), before, out=before)
                self.recorder.add(name, "", "update", 0, change, inputs, consumes=False)
        self.state("parameter.after", "buffer.after")

    def refused(self) -> None:
        self.recorder.listening = False

    def averaged(self) -> None:
        recorder, places = self.recorder, self.recorder.places
        weights = {**places("parameter.after"), **places("buffer.after")}
        for name, value in ({} if self._ema is None else self._ema.state).items():
            inputs = [weights[name]] if name in weights else []
            recorder.add(name, "", "average.after", 0, value, inputs, consumes=False)

    def _clipped(self) -> None:
        """Record what the optimizer gets: by how much it was clipped follows from all gradients."""
        recorder = self.recorder
        places = recorder.places("parameter.grad")
        norm = recorder.add("", "", "host", 0, None, places.values(), consumes=False)
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None and name in places:
                same = recorder.known.exact(parameter.grad)
                content = parameter.grad if same is None else None
                inputs = [places[name], norm]
                recorder.add(name, "", "parameter.clipped", 0, content, inputs, same=same, consumes=False)

    def state(self, parameters: str, buffers: str) -> None:
        """Record all parameters and buffers under these roles."""
        recorder = self.recorder
        updates = recorder.places("update")
        for role, named in ((parameters, self.model.named_parameters()), (buffers, self.model.named_buffers())):
            for name, tensor in named:
                known = recorder.known.of(tensor)
                inputs = [updates[name]] if name in updates else [] if known is None else recorder.users(known)
                n = recorder.add(name, "", role, 0, tensor, inputs, consumes=False)
                recorder.known.put(tensor, n)

    def _local_grad(self, name: str, parameter: Tensor) -> Callable[[Tensor], None]:
        def hook(grad: Tensor) -> None:
            recorder = self.recorder
            used = recorder.places("parameter")[name]
            n = recorder.add(name, "", "parameter.local", 0, grad, recorder.grad_inputs(used), consumes=False)
            self._local.setdefault(name, []).append(n)

        return hook


def record_batch(recorder: Recorder, batch: Any) -> None:
    """Records of all that a batch holds: numbers are sketched, the rest is text."""
    for name, value in leaves(batch):
        tensor = as_tensor(value)
        n = recorder.add(BATCH, name, "batch", 0, tensor, arguments="" if tensor is not None else as_text(value))
        if isinstance(value, Tensor):
            recorder.known.put(value, n)
