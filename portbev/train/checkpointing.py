"""From a run's state to a checkpoint and back."""

from __future__ import annotations

from portbev.runs.checkpoint import Checkpoint
from portbev.runs.ledger import LedgerPage
from portbev.runs.tensors import load_weights
from portbev.runs.writer import now
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
    parts.optimizer.load_state_dict(saved.state["optimizer"])
    if parts.scaler.is_enabled():
        parts.scaler.load_state_dict(saved.state["scaler"])
    return Position(
        step=saved.step,
        seconds=float(saved.meta["seconds"]),
        peak_memory=int(saved.meta["peak_memory"]),
        skipped_steps=int(saved.meta["skipped_steps"]),
        kernels={operator: LedgerPage.model_validate(page) for operator, page in saved.meta["kernels"].items()},
    )
