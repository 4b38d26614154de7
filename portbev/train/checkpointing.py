"""From a run's state to a checkpoint and back."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from portbev.errors import CheckpointError
from portbev.runs.checkpoint import META, Checkpoint
from portbev.runs.ledger import Ledger
from portbev.runs.reading import in_words
from portbev.runs.tensors import load_weights
from portbev.runs.writer import now
from portbev.train.how import take_up
from portbev.train.parts import Parts, Position


def save(parts: Parts, at: Position) -> None:
    """Write a checkpoint and the record, in the main process."""
    at.note(parts)
    record = parts.writer.record
    state = {
        "optimizer": parts.optimizer.state_dict(),
        "scaler": parts.scaler.state_dict(),
        "ema_updates": 0 if parts.ema is None else parts.ema.updates,
    }
    meta = {
        "epoch": at.step // parts.data.steps_per_epoch,
        "world_size": parts.comm.size,
        "seconds": at.seconds,
        "peak_memory": at.peak_memory,
        "skipped_steps": at.skipped_steps,
        "kernels": {operator: page.model_dump() for operator, page in record.kernels.items()},
        "config": record.config,
        "config_digest": record.config_digest,
        "created": now(),
    }
    average = None if parts.ema is None else parts.ema.state
    parts.checkpoints.save(Checkpoint(at.step, parts.model.state_dict(), average, state, meta))
    parts.writer.write()


def restore(parts: Parts, saved: Checkpoint) -> Position:
    """Put the state of ``saved`` into model, average, optimizer and scaler; returns how far the run had come."""
    load_weights(parts.model, saved.model, str(parts.checkpoints.path(saved.step)))
    if parts.ema is not None and saved.ema is not None:
        parts.ema.load(saved.ema)
        parts.ema.updates = int(saved.state["ema_updates"])
    take_up(parts.optimizer, saved.state["optimizer"])
    if parts.scaler.is_enabled():
        parts.scaler.load_state_dict(saved.state["scaler"])
    used = _used(saved, parts.checkpoints.path(saved.step) / META)
    return Position(
        step=saved.step,
        seconds=used.seconds,
        peak_memory=used.peak_memory,
        skipped_steps=used.skipped_steps,
        kernels=used.kernels,
    )


class _Used(BaseModel):
    """What a run had used at a checkpoint; of its ``meta.json``."""

    seconds: float = Field(ge=0, allow_inf_nan=False)
    peak_memory: int = Field(ge=0)
    skipped_steps: int = Field(ge=0)
    kernels: Ledger


def _used(saved: Checkpoint, where: Path) -> _Used:
    try:
        return _Used.model_validate(saved.meta)
    except ValidationError as error:
        cure = "Move this checkpoint's folder away: the run then goes on from the one before it"
        raise CheckpointError(f"is damaged: {in_words(error)}", where=str(where), cure=cure) from error
