"""How the batch of a step is shared out over processes, also over other ones than the run began with.

A global batch is divided into parts, at first one for each process. A run that goes on with fewer processes keeps the
parts: a process takes several, one after the other, each with its own batch statistics, masks and draws, and with the
normalisers of all parts. So a step computes what it did before; only sums are rounded in another order. With more
processes than parts there are more and smaller parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.errors import BackendError
from portbev.runs.record import RunRecord


@dataclass(frozen=True)
class Shares:
    """The parts of a global batch, and those of this process.

    Attributes:
        parts: how many there are.
        batch_size: samples of a part.
        mine: the numbers of this process's parts.
        processes: how many processes there are.
    """

    parts: int
    batch_size: int
    mine: tuple[int, ...]
    processes: int

    @property
    def plain(self) -> bool:
        """Whether every process takes one part."""
        return self.parts == self.processes

    @property
    def samples(self) -> int:
        """Samples of a global batch."""
        return self.parts * self.batch_size

    def part_of(self, number: int) -> int:
        """The part that batch ``number`` of this process belongs to."""
        return self.mine[number % len(self.mine)]

    def divisor(self, batches: int) -> float:
        """By what a loss is divided, of which the step adds ``batches`` in this process and averages over processes."""
        return batches // len(self.mine) * self.parts / self.processes


def equal_shares(batch_size: int, comm: Comm) -> Shares:
    """One part of ``batch_size`` samples for each process."""
    return Shares(comm.size, batch_size, (comm.rank,), comm.size)


def shares_of(config: RunConfig, comm: Comm, recorded: RunRecord | None) -> Shares:
    """How this run's batches are shared out.

    Args:
        recorded: the run that is continued, if any. With the same ``train.batch_size`` and ``train.accumulate`` its
            global batch is kept, whatever the number of processes.

    Raises:
        BackendError: its global batch cannot be divided over so many processes.
    """
    train = config.train
    if recorded is None or any(
        recorded.config.get("train", {}).get(key) != getattr(train, key) for key in ("batch_size", "accumulate")
    ):
        return equal_shares(train.batch_size, comm)
    samples = recorded.samples_per_step // train.accumulate
    return divided(samples, recorded.batch_parts or recorded.backend.world_size, comm, whole=train.sync_batchnorm)


def divided(samples: int, parts: int, comm: Comm, *, whole: bool) -> Shares:
    """``samples`` that were divided into ``parts``, over the processes that there are now.

    Args:
        whole: batch statistics are those of all processes: then each takes one part, whose size does not matter.

    Raises:
        BackendError: it cannot be done.
    """
    possible = [count for count in range(1, samples + 1) if samples % count == 0]
    if comm.size > samples or (whole and comm.size not in possible):
        reason = " with equal parts, which train.sync_batchnorm takes" if whole and comm.size <= samples else ""
        what = f"the run's batch of {samples} samples cannot be shared out over {comm.size} processes{reason}"
        counts = ", ".join(map(str, possible)) if whole else f"at most {samples}"
        raise BackendError(what, where="--resume", cure=f"Start {counts} processes")
    if whole:
        parts = comm.size
    elif comm.size > parts:
        parts = next(count for count in possible if count >= comm.size)
    first, end = (rank * parts // comm.size for rank in (comm.rank, comm.rank + 1))
    return Shares(parts, samples // parts, tuple(range(first, end)), comm.size)


def said_of(before: int, recorded: RunRecord, now: Shares, *, sync_batchnorm: bool) -> str:
    """What a record must say of a run that went on with another number of processes.

    Args:
        before: the number of processes.
    """
    parts = recorded.batch_parts or before
    size = now.samples // parts
    same = "the samples of each step, their order and their draws are the same"
    each = f"{now.parts} parts of {now.batch_size}"
    if sync_batchnorm:
        same += "; so are batch statistics; a loss that a process normalises by itself does so over other samples"
    elif now.parts == parts:
        same += ", batch statistics and normalisers too; sums are rounded in another order"
    else:
        same += f"; batch statistics, and losses that a process normalises by itself, are of {now.batch_size} samples"
        same += f", not {size}"
    taken = f"a batch of {now.samples} is {each}" if now.parts > 1 else f"a batch of {now.samples} is one part"
    return (
        f"{'one process' if now.processes == 1 else f'{now.processes} processes'} in place of {before}: {taken}; {same}"
    )
