"""One step of a configuration or of a run, prepared as training prepares it, taken as often as one likes."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from portbev import comm as comms
from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig, load_config
from portbev.data.loader import build_loader
from portbev.errors import PortbevError
from portbev.evaluate.inference import evaluating, infer_batch
from portbev.models import Batch, move_batch
from portbev.recording.calls import OperatorCalls
from portbev.recording.modules import watched_modules
from portbev.recording.moved import Snapshot, as_it_was, move_weights, moved_batch
from portbev.recording.recorder import Recorder
from portbev.recording.values import as_tensor
from portbev.recording.watch import StepWatcher, record_batch
from portbev.rng import watched_draws
from portbev.runs import load_run
from portbev.runs.layout import RUN
from portbev.train.batches import step_batches
from portbev.train.checkpointing import restore
from portbev.train.nonfinite import NonFiniteError
from portbev.train.parts import Parts
from portbev.train.setup import build_parts
from portbev.train.step import OptimizerStep

Kind = Literal["train", "inference"]
DATA, DECODING, DETECTIONS = "(data)", "(decoding)", "(detections)"


@dataclass(frozen=True)
class Source:
    """What a step is of: a configuration, and the run whose newest checkpoint it goes on from, if any.

    Attributes:
        data_root: of the run, unless another is given.
    """

    config: RunConfig
    run: Path | None = None
    data_root: str | None = None


def read_source(what: str, overrides: Sequence[str] = ()) -> Source:
    """A configuration by file or name, or a run by its directory.

    Raises:
        PortbevError: neither, or it cannot be read.
    """
    if (Path(what) / RUN).is_file():
        run = load_run(what)
        return Source(load_config(run.record.config, overrides), Path(what), run.record.data.source)
    return Source(load_config(what, overrides))


class Taken(NamedTuple):
    """How a step went: its seconds, and where it ended before its update, if a value was not finite."""

    seconds: float
    ended: str = ""


@dataclass
class RecordedStep:
    """A step that can be taken again and again: each time from the same state, with the same batches.

    Attributes:
        number: of the optimizer step, from 0; of the batch, in inference.
        batches: on the host; of this process.
        draws: what the data's generators drew for them: (generator and method, number of the draw, value).
    """

    parts: Parts
    kind: Kind
    number: int
    epoch: int
    batches: list[Batch]
    draws: list[tuple[str, int, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        parts = self.parts
        self._state = Snapshot(parts.model, parts.optimizer, parts.scaler, parts.ema)

    def take(
        self, recorder: Recorder, *, moved: int | None = None, within: AbstractContextManager[Any] | None = None
    ) -> Taken:
        """Take the step from the state that it was prepared with. The state is put back after it.

        A loss or a gradient that is not finite ends the step; what came before is recorded, and tells why.

        Args:
            recorder: gets the records.
            moved: with a number: weights and inputs are moved by one unit in the last place, by coins of that number.
            within: entered around the step.
        """
        with as_it_was(self._state), within or nullcontext():
            if moved is not None:
                move_weights(self.parts.model, moved)
            for name, index, value in self.draws:
                recorder.add(DATA, name, "draw", index, as_tensor(value))
            started = time.perf_counter()
            moving = None if moved is None else (lambda batch, micro: moved_batch(batch, moved, micro))
            ended = self._train(recorder, moving) if self.kind == "train" else self._infer(recorder, moving)
            self.parts.backend.synchronize()
            return Taken(time.perf_counter() - started, ended)

    def plain(self) -> float:
        """Take the step without recording anything; returns its seconds."""
        with as_it_was(self._state):
            started = time.perf_counter()
            if self.kind == "train":
                OptimizerStep(self.parts, lambda: False).take(self.batches, self.number)
            else:
                self._infer(None, None)
            self.parts.backend.synchronize()
            return time.perf_counter() - started

    def _train(self, recorder: Recorder, moving: Callable[[Batch, int], Batch] | None) -> str:
        """Returns what ended it early."""
        watcher = StepWatcher(self.parts.model, recorder, moving, self.parts.ema)
        try:
            with watcher.inside():
                OptimizerStep(self.parts, lambda: False, watcher).take(self.batches, self.number)
        except NonFiniteError as error:
            if self.parts.comm.size > 1 and error.__cause__ is not None:  # a loss of this process alone refused it
                raise
            return error.what
        return ""

    def _infer(self, recorder: Recorder | None, moving: Callable[[Batch, int], Batch] | None) -> str:
        parts = self.parts
        with evaluating(parts.model):
            for number, batch in enumerate(self.batches):
                moved = move_batch(batch, parts.device)
                moved = moved if moving is None else moving(moved, number)
                if recorder is None:
                    infer_batch(parts.model, moved, parts.backend, parts.config)
                    continue
                if number == 0:
                    StepWatcher(parts.model, recorder).state("parameter", "buffer")
                record_batch(recorder, moved)
                with watched_modules(parts.model, recorder, DECODING), OperatorCalls(recorder):
                    recorder.place, recorder.listening = "", True
                    found = infer_batch(parts.model, moved, parts.backend, parts.config)
                    recorder.listening = False
                for sample in found:
                    for index, name in enumerate(("boxes", "scores", "labels")):
                        recorder.add(DETECTIONS, name, "detections", index, as_tensor(getattr(sample, name)))
        if recorder is not None:
            recorder.flush()
        return ""


def prepare_step(
    source: Source,
    *,
    backend: Backend,
    comm: Comm,
    kind: Kind = "train",
    data_root: Path | str | None = None,
    init: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    notes: Sequence[str] = (),
) -> RecordedStep:
    """Open the data, build the model, load the weights and the batches of the step; nothing is written.

    A configuration's step is its first one, with the weights that training begins with (or those of ``init``); a run's
    is the one after its newest checkpoint.

    Args:
        backend: activated, see :func:`portbev.runtime.activated`.

    Raises:
        PortbevError: as training would.
    """
    config = source.config.model_copy(deep=True)
    config.data.workers = 0  # draws are the same with any number, and here they can be recorded
    parts = build_parts(
        config,
        backend=backend,
        comm=comm,
        data_root=data_root or source.data_root,
        out=Path("."),
        init=init,
        resumed=source.run is not None,
        command=list(sys.argv),
        notes=list(notes),
        say=say,
    )
    number = 0 if source.run is None else _take_up(parts, source.run)
    epoch, begin = divmod(number, parts.data.steps_per_epoch)
    draws: list[tuple[str, int, Any]] = []

    def told(key: tuple[int | str, ...], method: str, value: Any) -> None:
        name = f"{'/'.join(str(part) for part in key[1:])} {method}"  # the first part is the seed
        draws.append((name, 0, copy.deepcopy(value)))

    with watched_draws(told):
        if kind == "train":
            batches = next(iter(step_batches(parts, epoch, begin)))[0]
        else:
            number, epoch, batches = 0, 0, [_first_of_evaluation(parts)]
    return RecordedStep(parts, kind, number, epoch, batches, draws)


def _take_up(parts: Parts, run: Path) -> int:
    """Put the newest checkpoint of ``run`` into ``parts``; returns the number of the step after it."""
    saved = load_run(run).checkpoints.newest([])
    if saved is None:
        raise PortbevError("the run has no checkpoint yet", where=str(run), cure="Dump its configuration instead")
    if (parts.ema is None) != (saved.ema is None):
        raise PortbevError("the average of the weights is missing", where=str(run))
    where, parts.checkpoints = parts.checkpoints, load_run(run).checkpoints
    try:
        return restore(parts, saved).step
    finally:
        parts.checkpoints = where


def _first_of_evaluation(parts: Parts) -> Batch:
    loader = build_loader(
        parts.data.eval,
        batch_size=parts.config.eval.batch_size,
        workers=0,
        seed=parts.config.train.seed,
        epoch=0,
        part="eval",
        rank=parts.comm.rank,
        world_size=parts.comm.size,
        prepare=parts.model.preparation(training=False),
    )
    return next(iter(loader))


def local_device(backend: Backend) -> int:
    """Index of this process's device."""
    return comms.local_rank(backend)
