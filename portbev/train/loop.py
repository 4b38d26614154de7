"""The training loop.

Read :func:`train` and :meth:`Trainer.run` from top to bottom: what is set up, what a step is, and when it ends.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from portbev import comm as comms
from portbev.backend import Backend
from portbev.config import RunConfig
from portbev.determinism import forecast, heard, listening
from portbev.errors import PortbevError
from portbev.failures import explained, in_one_line
from portbev.models import Batch
from portbev.progress import Reporter
from portbev.runs import Run, load_run
from portbev.runs.record import RunRecord
from portbev.runs.scalars import Row
from portbev.runtime import activated
from portbev.train.banner import HANG, details, heading
from portbev.train.batches import step_batches
from portbev.train.checkpointing import restore, save
from portbev.train.evaluation import evaluate_now, is_due
from portbev.train.output import claimed
from portbev.train.parts import Parts, Position
from portbev.train.setup import assemble
from portbev.train.step import OptimizerStep, Outcome
from portbev.train.stop import Stopper


def train(
    config: RunConfig,
    *,
    backend: Backend | str = "auto",
    data_root: Path | str | None = None,
    out: Path | str,
    resume: bool = False,
    emulate: bool = False,
    why: str = "",
    init: Path | str | None = None,
    init_partial: bool = False,
    reporter: Reporter | None = None,
    command: Sequence[str] | None = None,
) -> Run:
    """Train and evaluate as ``config`` says, and write a run directory.

    Args:
        backend: an instance, a name, or ``auto``; it is activated as the section ``compute`` says.
        data_root: overrides ``config.data.root``.
        out: the run directory; must not hold a run unless ``resume``.
        resume: continue from the newest whole checkpoint in ``out``; an empty ``out`` is a fresh start.
        emulate: use the emulated device of that backend.
        why: how ``backend`` was chosen, where the user left that open, for the first lines.
        init: start from these weights (only): a checkpoint of ours or of an original implementation.
        init_partial: take the weights of ``init`` that fit the model, and note those that do not.
        reporter: where progress goes; lines on the standard output by default.
        command: what was typed, for the record.

    Returns:
        The run; its ``status`` is ``finished``, or ``interrupted`` after SIGINT, SIGTERM or SIGHUP.

    Raises:
        PortbevError: bad input, another process that trains into ``out``, a full disk, or a loss that is not finite
            (``status`` is then ``failed``).
    """
    chosen, notes = activated(backend, config.compute, emulate=emulate)
    notes = [*notes, *forecast(config.compute.deterministic)]
    out = Path(out)
    with comms.join(chosen) as comm, in_one_line(), listening(), claimed(out, comm, resume=resume) as claim:
        reporter = reporter or Reporter(every=config.train.log_every)
        reporter.quiet = reporter.quiet or not comm.is_main
        notes += [claim.note] if claim.note else []
        for line in heading(config, chosen, comm, out, why):
            reporter.say(line, hang=HANG)
        held = [f"note: {note}" for note in notes]
        parts = assemble(
            config,
            backend=chosen,
            comm=comm,
            data_root=data_root,
            out=out,
            resume=claim.resume,
            init=None if init is None else Path(init),
            init_partial=init_partial,
            command=list(sys.argv if command is None else command),
            notes=notes,
            say=held.append,
        )
        if not parts.finished:
            for line in details(parts):
                reporter.say(line, hang=HANG)
            held = [*parts.data.lines(), *held]
        for line in held:
            reporter.say(line)
        if parts.finished:
            reporter.say(f"{out}: finished already, nothing to do")
        else:
            with reporter, Stopper() as stopper:
                Trainer(parts, reporter, stopper).run()
        # Machines without a shared file system have the record from the first process.
        record = comm.on_main(lambda: load_run(out).record.model_dump(mode="json", by_alias=True))
    return Run(out, RunRecord.model_validate(record))


class Trainer:
    """Moves a run forward, step by step."""

    def __init__(self, parts: Parts, reporter: Reporter, stopper: Stopper) -> None:
        self.parts, self.config, self.comm = parts, parts.config, parts.comm
        self.reporter, self.stopper = reporter, stopper
        self.optimizer_step = OptimizerStep(parts, lambda: stopper.asked)
        self.at = Position() if parts.checkpoint is None else restore(parts, parts.checkpoint)
        self.stopping = self.rehearsed = False

    def run(self) -> None:
        """Train to the end, and leave a record of how it ended."""
        try:
            with contextlib.closing(self.parts):
                self.parts.backend.reset_peak_memory()
                if self.comm.is_main:
                    self.parts.writer.begin(self.at.step)
                self._epochs()
                self._finish()
        except BaseException as error:
            said = explained(error)
            self._fail(said or error)
            if said is not None:
                raise said from error
            raise

    def _epochs(self) -> None:
        total, steps_per_epoch = self.parts.total_steps, self.parts.data.steps_per_epoch
        self.reporter.begin_steps(self.at.step, total)
        if self.at.step and self.at.step % steps_per_epoch == 0 and self.at.step < total:
            self._evaluate_if_due()  # killed between an epoch's checkpoint and its evaluation
        while self.at.step < total and not self.stopping:
            epoch, begin = divmod(self.at.step, steps_per_epoch)
            for batches, waited, started in step_batches(self.parts, epoch, begin):
                if not self.rehearsed:
                    self.optimizer_step.rehearse(batches, self.at.step)
                    self.rehearsed = True
                outcome = self._step(batches)
                # The device may still update the weights: the next step, which waits for that, counts it.
                self._log(outcome, epoch, started, waited)
                if self._checkpoint_is_due():
                    self._save()
                if self.stopping or self.at.step == total:
                    break
            if not self.stopping and self.at.step < total:
                self._evaluate_if_due()
        self.reporter.end_steps()
        if not self.stopping:
            self._evaluate(final=True)

    def _step(self, batches: list[Batch]) -> Outcome:
        outcome = self.optimizer_step.take(batches, self.at.step)
        self.stopping = outcome.stop
        self.at.step += 1
        self.at.skipped_steps += outcome.skipped
        return outcome

    def _log(self, outcome: Outcome, epoch: int, started: float, waited: float) -> None:
        row = Row(
            step=self.at.step,
            epoch=epoch,
            samples=self.at.step * self.parts.writer.record.samples_per_step,
            losses=outcome.losses,
            grad_norm=outcome.grad_norm,
            lr=outcome.lr,
            step_time=time.perf_counter() - started,
            data_time=waited,
        )
        self.at.seconds += row.step_time
        if self.comm.is_main:
            self.parts.writer.add(row)
            if self.parts.board is not None:
                self.parts.board.add(row)
        self._compare(row)
        self.reporter.step(row, self.parts.total_steps, self.parts.writer.record.samples_per_step)

    def _compare(self, row: Row) -> None:
        """Say once by how much steps differ that another number of processes took before."""
        retaken, record = self.parts.retaken, self.parts.writer.record
        if retaken is not None and retaken.add(row):
            record.deviations.append(retaken.found)
            self.reporter.say(f"note: {retaken}")
            self.parts.retaken = None

    def _checkpoint_is_due(self) -> bool:
        step, every = self.at.step, self.config.train.checkpoint.every_steps
        end = step % self.parts.data.steps_per_epoch == 0 or step == self.parts.total_steps
        return end or self.stopping or bool(every and step % every == 0)

    def _save(self) -> None:
        self.comm.on_main(lambda: save(self.parts, self.at))

    def _evaluate_if_due(self) -> None:
        if is_due(self.parts, self.at):
            self._evaluate(final=False)

    def _evaluate(self, *, final: bool) -> None:
        done = evaluate_now(self.parts, self.at, self.reporter, final=final, stop=lambda: self.stopper.asked)
        self.stopping = self.stopping or not done

    def _finish(self) -> None:
        if self.comm.is_main:
            self.at.note(self.parts)
            self.parts.writer.end("interrupted" if self.stopping else "finished")
            for line in heard():
                self.reporter.say(f"note: {line}")
        self.comm.barrier()

    def _fail(self, error: BaseException) -> None:
        """Keep the error in the record, if the record can still be written; the error itself goes on."""
        if not self.comm.is_main:
            return
        text = str(error) if isinstance(error, PortbevError) else f"{type(error).__name__}: {error}"
        interrupted = isinstance(error, KeyboardInterrupt)
        with contextlib.suppress(Exception):
            self.at.note(self.parts)
            self.parts.writer.end("interrupted" if interrupted else "failed", None if interrupted else text)
