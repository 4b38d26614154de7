"""The training loop.

Read :func:`train` and :meth:`Trainer.run` from top to bottom: what is set up, what a step is, and when it ends.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from portbev import comm as comms
from portbev.backend import Backend
from portbev.config import RunConfig
from portbev.data import build_loader
from portbev.data.streams import every_nth
from portbev.errors import PortbevError
from portbev.evaluate.benchmark import find_metric, headline, headline_metrics
from portbev.evaluate.inference import evaluate_model
from portbev.kernels import KERNELS
from portbev.models import Batch, move_batch
from portbev.nn.dropout import set_dropout_step
from portbev.outputs import in_float32
from portbev.rng import key_of
from portbev.runs.checkpoint import Checkpoint, load_weights
from portbev.runs.record import Run, load_run, merge_ledgers, now, read_scalars, throughput
from portbev.runtime import activate
from portbev.train import nonfinite
from portbev.train.optim import lr_factor, set_lr
from portbev.train.progress import Reporter
from portbev.train.setup import Parts, assemble
from portbev.train.stop import Stopper


def train(
    config: RunConfig,
    *,
    backend: Backend | str = "auto",
    data_root: Path | str | None = None,
    out: Path | str,
    resume: bool = False,
    emulate: bool = False,
    init: Path | str | None = None,
    trust_pickle: bool = False,
    reporter: Reporter | None = None,
    command: Sequence[str] | None = None,
) -> Run:
    """Train and evaluate as ``config`` says, and write a run directory.

    Args:
        backend: an instance, a name, or ``auto``; it is activated with the configuration's precision and determinism.
        data_root: overrides ``config.data.root``.
        out: the run directory; must not hold a run unless ``resume``.
        resume: continue from the newest whole checkpoint in ``out``; an empty ``out`` is a fresh start.
        emulate: use the emulated device of that backend.
        init: start from these weights (only): a checkpoint of ours or of an original implementation.
        trust_pickle: allow an ``init`` whose reading executes code.
        reporter: where progress goes; lines on the standard output by default.
        command: what was typed, for the record.

    Returns:
        The run; its ``status`` is ``finished``, or ``interrupted`` after SIGINT or SIGTERM.

    Raises:
        PortbevError: bad input, a full disk, or a loss that is not finite (``status`` is then ``failed``).
    """
    chosen = activate(
        backend,
        emulate=emulate,
        precision=config.compute.precision,
        deterministic=config.compute.deterministic,
        kernels=config.compute.kernels,
    )
    notes = chosen.prepare_host(config.compute)
    with comms.join(chosen) as comm:
        reporter = reporter or Reporter(every=config.train.log_every)
        reporter.quiet = reporter.quiet or not comm.is_main
        for note in notes:
            reporter.say(f"note: {note}")
        parts = assemble(
            config,
            backend=chosen,
            comm=comm,
            data_root=data_root,
            out=Path(out),
            resume=resume,
            init=None if init is None else Path(init),
            trust_pickle=trust_pickle,
            command=list(sys.argv if command is None else command),
            say=reporter.say,
        )
        if parts.finished:
            reporter.say(f"{out}: finished already, nothing to do")
        else:
            with reporter, Stopper() as stopper:
                Trainer(parts, reporter, stopper).run()
    return load_run(out)


class Trainer:
    """The state of a run between two steps, and what moves it forward."""

    def __init__(self, parts: Parts, reporter: Reporter, stopper: Stopper) -> None:
        self.p, self.reporter, self.stopper = parts, reporter, stopper
        self.config, self.backend, self.comm = parts.config, parts.backend, parts.comm
        self.step, self.seconds, self.peak, self.skipped = 0, 0.0, 0, 0
        self.ledger: dict[str, Any] = {}
        self.stopping = False
        if parts.checkpoint is not None:
            self._restore(parts.checkpoint)

    def run(self) -> None:
        """Train to the end, and leave a record of how it ended."""
        try:
            with contextlib.closing(self.p):
                self.backend.reset_peak_memory()
                if self.comm.is_main:
                    self.p.recorder.begin_scalars(self.step)
                self._epochs()
                self._finish("interrupted" if self.stopping else "finished")
        except BaseException as error:
            self._fail(error)
            raise

    def _epochs(self) -> None:
        p = self.p
        self.reporter.begin_steps(self.step, p.total_steps)
        if self.step and self.step % p.steps_per_epoch == 0 and self.step < p.total_steps:
            self._evaluate_if_due()  # killed between an epoch's checkpoint and its evaluation
        while self.step < p.total_steps and not self.stopping:
            epoch, begin = divmod(self.step, p.steps_per_epoch)
            for batches, waited, started in self._groups(epoch, begin):
                row = self._step(batches, epoch)
                self.backend.synchronize()
                self._log(row, started, waited)
                end = self.step % p.steps_per_epoch == 0 or self.step == p.total_steps
                every = self.config.train.checkpoint.every_steps
                if end or self.stopping or (every and self.step % every == 0):
                    self._save()
                if self.stopping or self.step == p.total_steps:
                    break
            if not self.stopping and self.step < p.total_steps:
                self._evaluate_if_due()
        self.reporter.end_steps()
        if not self.stopping:
            self._evaluate(final=True)

    def _groups(self, epoch: int, begin: int) -> Iterator[tuple[list[Batch], float, float]]:
        """The batches of each optimizer step of an epoch from step ``begin`` on, the wait for them, and its start."""
        p, n = self.p, self.config.train.accumulate
        loader = build_loader(
            p.train_data,
            batch_size=self.config.train.batch_size,
            workers=self.config.data.workers,
            seed=self.config.train.seed,
            epoch=epoch,
            part="train",
            rank=self.comm.rank,
            world_size=self.comm.size,
            start_batch=begin * n,
        )
        batches = iter(loader)
        for _ in range(p.steps_per_epoch - begin):
            started = time.perf_counter()
            group = [next(batches) for _ in range(n)]
            yield group, time.perf_counter() - started, started

    def _step(self, batches: list[Batch], epoch: int) -> dict[str, Any]:
        """One optimizer step: forward and backward of each batch, clipping, update, average."""
        p, settings = self.p, self.config.train
        p.model.train()
        torch.manual_seed(key_of(settings.seed, "step", self.step, self.comm.rank) % 2**63)
        lr = p.lr * lr_factor(
            self.config.schedule, self.step, total=p.schedule_steps, steps_per_epoch=p.steps_per_epoch
        )
        set_lr(p.optimizer, lr)
        sums: dict[str, float] = {}
        for micro, batch in enumerate(batches):
            last = micro == len(batches) - 1
            with contextlib.nullcontext() if last or self.comm.size == 1 else p.wrapped.no_sync():
                try:
                    terms = self._forward(batch, micro)
                except RuntimeError as error:  # some losses refuse NaN themselves
                    if "find_unused_parameters" in str(error):  # DDP found it only now
                        raise self._without_gradient() from error
                    self._explain(batches, error)
                    raise
                total = torch.stack(list(terms.values())).sum()
                p.scaler.scale(total / len(batches)).backward()
            values = torch.stack([total.detach(), *(t.detach() for t in terms.values())]).float().cpu().tolist()
            for name, value in zip(["total", *terms], values, strict=True):
                sums[name] = sums.get(name, 0.0) + value / len(batches)
        if self.comm.size > 1 and not settings.find_unused_parameters and self._unused():
            raise self._without_gradient()  # its bucket was not averaged: the processes would drift apart
        agreed = self.comm.mean_vector([float(self.stopper.asked), *sums.values()])
        self.stopping = agreed[0] > 0
        losses = dict(zip(sums, agreed[1:], strict=True))
        self._check_finite(losses, batches)
        norm = self._update(losses, batches)
        self.step += 1
        return {
            "step": self.step,
            "epoch": epoch,
            "samples": self.step * p.samples_per_step,
            "losses": losses,
            "grad_norm": norm,
            "lr": lr,
        }

    def _forward(self, batch: Batch, micro: int) -> dict[str, torch.Tensor]:
        """Loss terms of one batch."""
        p, comm = self.p, self.comm
        forward_number = (self.step * self.config.train.accumulate + micro) * comm.size + comm.rank
        set_dropout_step(p.model, forward_number)
        moved = move_batch(batch, p.device)
        with self.backend.autocast(self.config.compute.amp):
            outputs = p.wrapped(moved)
        return p.model.losses(in_float32(outputs), moved, mean_over_ranks=comm.mean if comm.size > 1 else None)

    def _unused(self) -> list[str]:
        return [name for name, w in self.p.model.named_parameters() if w.requires_grad and w.grad is None]

    def _without_gradient(self) -> PortbevError:
        names = self._unused()
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        return PortbevError(
            f"step {self.step + 1}: parameters without a gradient" + (f": {shown}" if shown else ""),
            where=f"process {self.comm.rank}",
            cure="If the model may leave parameters out of a step, set train.find_unused_parameters=true",
        )

    def _update(self, losses: dict[str, float], batches: list[Batch]) -> float:
        """Clip, step, average. Returns the norm of the gradient before clipping."""
        p, limit, scale = self.p, self.config.train.clip_grad_norm, self.config.compute.loss_scale
        p.scaler.unscale_(p.optimizer)
        parameters = [w for w in p.model.parameters() if w.grad is not None]
        total = torch.nn.utils.get_total_norm([w.grad for w in parameters if w.grad is not None], foreach=True)
        norm = float(total.cpu())
        if not math.isfinite(norm):
            if not p.scaler.is_enabled():
                name = nonfinite.first_nonfinite_gradient(p.model)
                raise nonfinite.describe(self.step + 1, losses, _tokens(batches), name, what="the gradient")
            self.skipped += 1  # fp16 overflow: the scaler leaves the step out and, if dynamic, lowers its scale
        elif limit is not None:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, total, foreach=True)
        p.scaler.step(p.optimizer)
        p.scaler.update(None if scale == "dynamic" else float(scale))
        p.optimizer.zero_grad(set_to_none=True)
        if p.ema is not None:
            p.ema.update(p.model)
        return norm

    def _check_finite(self, losses: dict[str, float], batches: list[Batch]) -> None:
        """Stop before the update, with what a person needs to find the cause."""
        if not all(math.isfinite(value) for value in losses.values()):
            module = self._first_nonfinite(batches)
            raise nonfinite.describe(self.step + 1, losses, _tokens(batches), module, what="the loss")

    def _explain(self, batches: list[Batch], error: RuntimeError) -> None:
        """Say which module gave NaN or infinity, if one did, when ``error`` came of it."""
        module = self._first_nonfinite(batches)
        if module is not None:
            text = f"a model output (the loss said: {' '.join(str(error).split())[:120]})"
            raise nonfinite.describe(self.step + 1, {}, _tokens(batches), module, what=text) from error

    def _first_nonfinite(self, batches: list[Batch]) -> str | None:
        """The first module of this process with a non-finite output, in the same forward passes once more."""
        for micro, batch in enumerate(batches):
            set_dropout_step(self.p.model, (self.step * len(batches) + micro) * self.comm.size + self.comm.rank)
            moved = move_batch(batch, self.p.device)
            with self.backend.autocast(self.config.compute.amp):
                name = nonfinite.first_nonfinite_module(self.p.model, lambda moved=moved: self.p.model(moved))  # type: ignore[misc]
            if name is not None:
                return name
        return None

    def _log(self, row: dict[str, Any], started: float, waited: float) -> None:
        row["step_time"], row["data_time"] = time.perf_counter() - started, waited
        self.seconds += row["step_time"]
        if self.comm.is_main:
            self.p.recorder.scalar(row)
            if self.p.board is not None:
                self.p.board.add(row)
        self.reporter.step(row, self.p.total_steps, self.p.samples_per_step)

    def _save(self) -> None:
        """Checkpoint and record, by the first process."""
        self.comm.on_main(self._write_checkpoint)

    def _write_checkpoint(self) -> None:
        p = self.p
        self._note_progress()
        state = {
            "optimizer": p.optimizer.state_dict(),
            "scaler": p.scaler.state_dict(),
            "ema_updates": 0 if p.ema is None else p.ema.updates,
        }
        meta = {
            "epoch": self.step // p.steps_per_epoch,
            "world_size": self.comm.size,
            "seconds": self.seconds,
            "peak_memory": p.recorder.info["training"]["peak_memory"],
            "skipped_steps": self.skipped,
            "kernels": p.recorder.info["kernels"],
            "config": p.recorder.info["config"],
            "config_digest": p.recorder.info["config_digest"],
            "created": now(),
        }
        ema = None if p.ema is None else p.ema.state
        p.checkpoints.save(Checkpoint(self.step, p.model.state_dict(), ema, state, meta))
        p.recorder.write()

    def _restore(self, saved: Checkpoint) -> None:
        p, where = self.p, str(self.p.checkpoints.path(saved.step))
        load_weights(p.model, saved.model, where)
        if p.ema is not None and saved.ema is not None:
            p.ema.load(saved.ema)
            p.ema.updates = int(saved.state["ema_updates"])
        p.optimizer.load_state_dict(saved.state["optimizer"])
        if p.scaler.is_enabled():
            p.scaler.load_state_dict(saved.state["scaler"])
        self.step, self.seconds = saved.step, float(saved.meta["seconds"])
        self.ledger, self.peak = saved.meta["kernels"], int(saved.meta["peak_memory"])
        self.skipped = int(saved.meta["skipped_steps"])

    def _evaluate_if_due(self) -> None:
        every = self.config.train.eval_every
        epoch = self.step // self.p.steps_per_epoch
        known = any(e["step"] == self.step for e in self.p.recorder.info["evaluations"])
        if every and epoch % every == 0 and not self.comm.decide(known):
            self._evaluate(final=False)

    def _evaluate(self, *, final: bool) -> None:
        """Score the present weights; the final evaluation takes the whole split and writes the submission."""
        p = self.p
        stride = 1 if final else self.config.data.eval_stride
        data = every_nth(p.eval_data, stride)
        averaged = p.ema is not None and self.config.eval.use_ema
        self.peak = max(self.peak, self.backend.peak_memory())
        with p.ema.applied(p.model) if p.ema is not None and averaged else contextlib.nullcontext():
            # statistics of batches are each process's own; the checkpoint has the first one's, as DDP takes them too
            self.comm.spread(b for b in p.model.buffers() if b.is_floating_point())
            metrics = evaluate_model(
                p.model,
                data,
                self.config,
                backend=self.backend,
                comm=self.comm,
                out=p.recorder.path if final else None,
                step=self.step,
                weights="ema" if averaged else "model",
                reporter=self.reporter,
                stop=lambda: self.stopper.asked,
            )
        self.backend.reset_peak_memory()
        if metrics is None:
            self.stopping = True
            return
        self.comm.on_main(lambda: self._note_evaluation(metrics, stride))
        self.reporter.say(
            f"step {self.step}: {headline(p.benchmark, metrics)}"
            f"  ({metrics['samples']} samples of {metrics['split']}, {metrics['weights']} weights)"
        )

    def _note_evaluation(self, metrics: dict[str, Any], stride: int) -> None:
        p = self.p
        short = {key: metrics[key] for key in ("step", "weights", "samples")}
        short |= {metric.key: metric.of(metrics) for metric in headline_metrics(p.benchmark)}
        evaluations = [e for e in p.recorder.info["evaluations"] if e["step"] != self.step]
        p.recorder.info["evaluations"] = [
            *evaluations,
            {**short, "epoch": self.step // p.steps_per_epoch, "stride": stride},
        ]
        if self.config.train.eval_every:
            metric = find_metric(p.benchmark, self.config.train.checkpoint.best)
            p.checkpoints.mark_best(self.step, metric.key, metric.of(metrics), better=metric.better)
        if p.board is not None:
            p.board.add_metrics({metric.key: metric.of(metrics) for metric in p.benchmark.metrics}, self.step)
        self._note_progress()
        p.recorder.write()

    def _note_progress(self) -> None:
        p, info = self.p, self.p.recorder.info
        self.peak = max(self.peak, self.backend.peak_memory())
        rows = read_scalars(p.recorder.path / "scalars.jsonl")
        info["progress"] = {
            "step": self.step,
            "epoch": self.step // p.steps_per_epoch,
            "samples": self.step * p.samples_per_step,
            "total_steps": p.total_steps,
            "skipped_steps": self.skipped,
        }
        info["training"] = {
            **throughput(rows, p.samples_per_step),
            "peak_memory": self.peak,
            "seconds": self.seconds,
        }
        info["kernels"] = merge_ledgers(self.ledger, KERNELS.ledger.snapshot())

    def _finish(self, status: str) -> None:
        if self.comm.is_main:
            self._note_progress()
            self.p.recorder.info.update(status=status, finished=now())
            self.p.recorder.write()
        self.comm.barrier()

    def _fail(self, error: BaseException) -> None:
        """Keep the error in the record, if the record can still be written; the error itself goes on."""
        if not self.comm.is_main:
            return
        text = str(error) if isinstance(error, PortbevError) else f"{type(error).__name__}: {error}"
        interrupted = isinstance(error, KeyboardInterrupt)
        with contextlib.suppress(Exception):
            self._note_progress()
            self.p.recorder.info.update(
                status="interrupted" if interrupted else "failed", finished=now(), error=None if interrupted else text
            )
            self.p.recorder.write()


def _tokens(batches: Sequence[Batch]) -> list[str]:
    return [token for batch in batches for token in batch["tokens"]]
