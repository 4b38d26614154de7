"""Evaluation in the course of training and at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from portbev.data.streams import every_nth
from portbev.evaluate.benchmark import find_metric, headline, headline_metrics
from portbev.evaluate.inference import evaluate_model
from portbev.progress import Reporter
from portbev.runs.record import Evaluation
from portbev.train.parts import Parts, Position


def evaluate_now(parts: Parts, at: Position, reporter: Reporter, *, final: bool, stop: Callable[[], bool]) -> bool:
    """Score the present weights; the final evaluation takes the whole split and writes the predictions.

    Returns:
        False when ``stop`` ended it.
    """
    config = parts.config
    stride = 1 if final else config.data.eval_stride
    averaged = parts.ema is not None and config.eval.use_ema
    at.peak_memory = max(at.peak_memory, parts.backend.peak_memory())
    with parts.ema.applied(parts.model) if parts.ema is not None and averaged else contextlib.nullcontext():
        # statistics of batches are each process's own; the checkpoint has the first one's, as DDP takes them too
        parts.comm.broadcast_tensors(b for b in parts.model.buffers() if b.is_floating_point())
        metrics = evaluate_model(
            parts.model,
            every_nth(parts.data.eval, stride),
            config,
            backend=parts.backend,
            comm=parts.comm,
            out=parts.writer.path if final else None,
            step=at.step,
            weights="ema" if averaged else "model",
            source=parts.data.source,
            reporter=reporter,
            stop=stop,
        )
    parts.backend.reset_peak_memory()
    if metrics is None:
        return False
    parts.comm.on_main(lambda: _note(parts, at, metrics, stride))
    reporter.say(
        f"step {at.step}: {headline(parts.benchmark, metrics)}"
        f"  ({metrics['samples']} samples of {metrics['split']}, {metrics['weights']} weights)"
    )
    return True


def is_due(parts: Parts, at: Position) -> bool:
    """Whether the epoch that has just ended is to be evaluated and was not yet."""
    every = parts.config.train.eval_every
    if not every or (at.step // parts.data.steps_per_epoch) % every:
        return False
    known = any(evaluation.step == at.step for evaluation in parts.writer.record.evaluations)
    return not parts.comm.broadcast(known)


def _note(parts: Parts, at: Position, metrics: dict[str, Any], stride: int) -> None:
    """Keep the figures in the record, mark the best checkpoint."""
    parts.writer.add_evaluation(
        Evaluation(
            step=at.step,
            epoch=at.step // parts.data.steps_per_epoch,
            weights=metrics["weights"],
            samples=metrics["samples"],
            stride=stride,
            figures={metric.key: metric.of(metrics) for metric in headline_metrics(parts.benchmark)},
        )
    )
    if parts.config.train.eval_every:
        metric = find_metric(parts.benchmark, parts.config.train.checkpoint.best)
        if parts.judged_anew:
            parts.checkpoints.forget_best()
            parts.judged_anew = False
        parts.checkpoints.mark_best(at.step, metric.key, metric.of(metrics), better=metric.better)
    if parts.board is not None:
        parts.board.add_metrics({metric.key: metric.of(metrics) for metric in parts.benchmark.metrics}, at.step)
    at.note(parts)
    parts.writer.write()
