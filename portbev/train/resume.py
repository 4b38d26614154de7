"""Taking up a run that was stopped: only with what may change, and from its newest whole checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable

from portbev.errors import CheckpointError, PortbevError
from portbev.runs import load_run
from portbev.runs.layout import METRICS, PREDICTIONS, SCALARS
from portbev.runs.record import Resumption, RunRecord
from portbev.runs.scalars import read_scalars
from portbev.runs.writer import now
from portbev.train.changes import Change, changes, check_changes, keep_results, notes_on
from portbev.train.parts import Parts
from portbev.train.retaken import Retaken
from portbev.train.shares import said_of


def take_up(parts: Parts, say: Callable[[str], None]) -> None:
    """Continue the run in the output directory: its checkpoint and what its record keeps go into ``parts``.

    A run that is finished and has no steps left is marked so and otherwise left alone. One without a checkpoint starts
    anew, with whatever configuration.

    Raises:
        PortbevError: it is not the same run, it is finished and only its evaluation would change, or none of its
            checkpoints is whole.
    """
    run, writer = load_run(parts.writer.path), parts.writer
    old, new, where = run.record, writer.record, str(writer.path)
    found = changes(run.config, parts.config)
    kept = bool(parts.checkpoints.steps())
    if kept or old.status == "finished":
        check_changes(found, parts.config, where)
        _check_same_run(old, new, where)
    if old.status == "finished" and old.progress.step == parts.total_steps:
        _check_nothing_to_judge(found, where)
        new.status = "finished"
        return
    if old.status == "finished" and not kept:
        raise CheckpointError("the run is finished and its checkpoints are gone", where=where, cure="Use another --out")
    damaged: list[str] = []
    parts.checkpoint = parts.checkpoints.newest(damaged)
    _check_checkpoint(parts, where)
    step = 0 if parts.checkpoint is None else parts.checkpoint.step
    new.created, new.command, new.training, new.warnings = old.created, old.command, old.training, old.warnings
    new.torch_not_deterministic = old.torch_not_deterministic
    told = _other_processes(parts, old, step)
    new.agents, new.deviations = sorted({*old.agents, *new.agents}), old.deviations
    told += notes_on(found, parts.config, step, len(parts.data.train))
    if old.status == "finished":
        moved = parts.comm.on_main(lambda: keep_results(writer.path, step, (METRICS, PREDICTIONS)))
        told += [moved] if moved else []
    new.notes = list(dict.fromkeys([*old.notes, *new.notes, *told]))
    parts.judged_anew = any(change.judges for change in found) and bool(old.evaluations)
    new.evaluations = [evaluation for evaluation in old.evaluations if evaluation.step <= step]
    new.resumed = [*old.resumed, _resumption(parts, old, step)]
    for note in damaged:
        say(f"warning: {note}")
        writer.warn(note)
    for note in told:
        say(f"note: {note}")
    say(f"resuming at step {step}" if step else "no checkpoint yet: starting at step 0")


def _other_processes(parts: Parts, old: RunRecord, step: int) -> list[str]:
    """What is said of a run that goes on with another number of processes; nothing where it is the same."""
    before, size = old.backend.world_size, parts.comm.size
    if before == size:
        return []
    if parts.comm.is_main:
        rows = read_scalars(parts.writer.path / SCALARS)
        retaken = Retaken(rows, step, before=before, processes=size)
        parts.retaken = retaken if retaken.waits else None
    return [said_of(before, old, parts.shares, sync_batchnorm=parts.config.train.sync_batchnorm)]


def _resumption(parts: Parts, old: RunRecord, step: int) -> Resumption:
    attempt, most = (os.environ.get(f"TORCHELASTIC_{name}") for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    by = f"torchrun, restart {attempt} of {most}" if attempt and attempt != "0" else None
    return Resumption(step=step, time=now(), after=old.status, processes=parts.comm.size, by=by)


def _check_nothing_to_judge(found: list[Change], where: str) -> None:
    judged = [change for change in found if change.judges]
    if judged:
        settings = " ".join(f"--set {change.key}={change.after}" for change in judged)
        what = f"the run is finished; {', '.join(map(str, judged))} would not change its results"
        raise PortbevError(what, where=where, cure=f"Evaluate it again: portbev eval {where} {settings}")


def _check_same_run(old: RunRecord, new: RunRecord, where: str) -> None:
    for name in ("name", "emulated"):
        before, now_ = getattr(old.backend, name), getattr(new.backend, name)
        if before != now_:
            what = f"the run was made with backend {name} {before!r}, not {now_!r}"
            cure = f"Continue it the same way, or start anew from its weights: --init {where} --out NEW"
            raise PortbevError(what, where=where, cure=cure)
    for name in ("digest", "version"):
        before, now_ = getattr(old.data, name), getattr(new.data, name)
        if before != now_:
            both = f"{name} {before[:16]} of {old.data.root}, now {now_[:16]} of {new.data.root}"
            what = f"the training data changed: {both}"
            raise PortbevError(what, where=where, cure="Give the data it was made with")


def _check_checkpoint(parts: Parts, where: str) -> None:
    if parts.checkpoint is None:
        return
    if parts.checkpoint.step > parts.total_steps:
        settings = parts.config.train
        limit = f"train.epochs={settings.epochs}"
        if settings.max_steps is not None and settings.max_steps < parts.schedule_steps:
            limit = f"train.max_steps={settings.max_steps}"
        what = f"the run is at step {parts.checkpoint.step}, beyond {limit} (step {parts.total_steps})"
        key = limit.partition("=")[0]
        raise PortbevError(what, where=where, cure=f"Raise {key}, or evaluate an earlier checkpoint: portbev eval")
    if (parts.ema is None) != (parts.checkpoint.ema is None):
        raise CheckpointError("the average of the weights is missing", where=where)
