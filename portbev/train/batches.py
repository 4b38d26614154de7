"""The batches that training learns from, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator

from portbev.data.loader import build_loader
from portbev.models import Batch
from portbev.train.parts import Parts


def step_batches(parts: Parts, epoch: int, begin: int) -> Iterator[tuple[list[Batch], float, float]]:
    """The batches of each optimizer step of an epoch from step ``begin`` on, the wait for them, and its start."""
    settings, shares = parts.config.train, parts.shares
    of_a_step = settings.accumulate * len(shares.mine)
    loader = build_loader(
        parts.data.train,
        batch_size=shares.batch_size,
        workers=parts.config.data.workers,
        seed=settings.seed,
        epoch=epoch,
        part="train",
        rank=shares.mine,
        world_size=shares.parts,
        start_batch=begin * of_a_step,
        prepare=parts.model.preparation(training=True),
        pin=parts.backend.pins(parts.config.compute),
    )
    batches = iter(loader)
    for _ in range(parts.data.steps_per_epoch - begin):
        started = time.perf_counter()
        group = [next(batches) for _ in range(of_a_step)]
        yield group, time.perf_counter() - started, started
