"""Taking up a run that was stopped: only with what may change, and from its newest whole checkpoint."""

from __future__ import annotations

from collections.abc import Callable

from portbev.config import RunConfig
from portbev.config.section import keys_of
from portbev.errors import CheckpointError, PortbevError
from portbev.runs import load_run
from portbev.runs.record import Resumption, RunRecord
from portbev.runs.writer import now
from portbev.train.parts import Parts


def take_up(parts: Parts, say: Callable[[str], None]) -> None:
    """Continue the run in the output directory: its checkpoint and what its record keeps go into ``parts``.

    A run that is finished and has no steps left is marked so and otherwise left alone.

    Raises:
        PortbevError: it is not the same run, or none of its checkpoints is whole.
    """
    run, writer = load_run(parts.writer.path), parts.writer
    old, new, where = run.record, writer.record, str(writer.path)
    _check_same_run(run.config, parts.config, old, new, where)
    if old.status == "finished" and old.progress.step >= parts.total_steps:
        new.status = "finished"
        return
    damaged: list[str] = []
    parts.checkpoint = parts.checkpoints.newest(damaged)
    _check_checkpoint(parts, where)
    step = 0 if parts.checkpoint is None else parts.checkpoint.step
    new.created, new.command, new.training, new.warnings = old.created, old.command, old.training, old.warnings
    new.notes = [*old.notes, *(note for note in new.notes if note not in old.notes)]
    new.evaluations = [evaluation for evaluation in old.evaluations if evaluation.step <= step]
    new.resumed = [*old.resumed, Resumption(step=step, time=now(), after=old.status)]
    for note in damaged:
        say(f"warning: {note}")
        writer.warn(note)
    say(f"resuming at step {step}" if step else "no checkpoint yet: starting at step 0")


def changed_keys(old: RunConfig, new: RunConfig) -> list[str]:
    """Keys with another value in ``new`` that a run must keep while it lives."""
    values = [{key: value for key, value, _ in keys_of(config)} for config in (old, new)]
    fixed = {key for config in (old, new) for key, _, meaning in keys_of(config) if not meaning.may_change_on_resume}
    absent = object()
    return sorted(key for key in fixed if values[0].get(key, absent) != values[1].get(key, absent))


def _check_same_run(old_config: RunConfig, config: RunConfig, old: RunRecord, new: RunRecord, where: str) -> None:
    keys = changed_keys(old_config, config)
    if keys:
        what = f"the run was made with another configuration; these keys differ: {', '.join(keys)}"
        raise PortbevError(what, where=where, cure="Give the same configuration, or start anew with another --out")
    for name in ("name", "emulated", "world_size"):
        before, now_ = getattr(old.backend, name), getattr(new.backend, name)
        if before != now_:
            what = f"the run was made with backend {name} {before!r}, not {now_!r}"
            cure = "Continue it the same way, or start anew from its weights: --init"
            raise PortbevError(what, where=where, cure=cure)
    for name in ("digest", "version"):
        if getattr(old.data, name) != getattr(new.data, name):
            what = f"the training data changed ({name})"
            raise PortbevError(what, where=where, cure="Give the data it was made with")


def _check_checkpoint(parts: Parts, where: str) -> None:
    if parts.checkpoint is None:
        return
    if parts.checkpoint.step > parts.total_steps:
        what = f"the run is at step {parts.checkpoint.step}, beyond train.max_steps"
        raise PortbevError(what, where=where, cure="Raise train.max_steps")
    if (parts.ema is None) != (parts.checkpoint.ema is None):
        raise CheckpointError("the average of the weights is missing", where=where)
