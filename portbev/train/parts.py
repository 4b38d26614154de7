"""What a training run consists of."""

from __future__ import annotations

import gc
from dataclasses import dataclass, field
from typing import Any

import torch

from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.evaluate.benchmark import Benchmark, find_benchmark
from portbev.kernels import KERNELS
from portbev.models import DetectionModel
from portbev.runs.checkpoint import Checkpoint
from portbev.runs.checkpoints import Checkpoints
from portbev.runs.ledger import Ledger, LedgerPage, merge_ledgers
from portbev.runs.record import Progress
from portbev.runs.writer import RunWriter
from portbev.train.ema import Ema
from portbev.train.retaken import Retaken
from portbev.train.shares import Shares, equal_shares
from portbev.train.splits import Splits
from portbev.train.tensorboard import TensorBoard


@dataclass
class Parts:
    """What the loop works with; made by :func:`portbev.train.setup.assemble`.

    Attributes:
        model: the model itself.
        wrapped: what is called in training: the model, in DDP with several processes.
        lr: the highest learning rate.
        checkpoint: where to continue, if anywhere.
        judged_anew: earlier evaluations of the run were made with other settings, so that none of them is compared.
        given_shares: how a batch is shared out, where that is not one part for each process.
        retaken: compares steps that another number of processes took before, in the first process.
    """

    config: RunConfig
    backend: Backend
    comm: Comm
    device: torch.device
    data: Splits
    model: DetectionModel
    wrapped: Any
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: Ema | None
    lr: float
    writer: RunWriter
    checkpoints: Checkpoints
    checkpoint: Checkpoint | None = None
    board: TensorBoard | None = None
    judged_anew: bool = False
    given_shares: Shares | None = None
    retaken: Retaken | None = None

    @property
    def shares(self) -> Shares:
        """How a batch is shared out over the processes."""
        return self.given_shares or equal_shares(self.config.train.batch_size, self.comm)

    @property
    def benchmark(self) -> Benchmark:
        """Who scores the evaluations."""
        return find_benchmark(self.data.eval.benchmark)

    @property
    def schedule_steps(self) -> int:
        """Steps of the whole schedule, whether or not ``max_steps`` ends it early."""
        return self.config.train.epochs * self.data.steps_per_epoch

    @property
    def total_steps(self) -> int:
        return min(self.schedule_steps, self.config.train.max_steps or self.schedule_steps)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.writer.record.status == "finished"

    def close(self) -> None:
        """Close the files, and let go of DDP.

        DDP must not outlive the process group: as its last owner, it would wait for the group's threads while it keeps
        Python locked, which they may need to end (torch 2.13).
        """
        if self.comm.size > 1:
            self.wrapped = self.model
            gc.collect()
        if self.board is not None:
            self.board.close()
        self.writer.close()


def samples_per_step(config: RunConfig, comm: Comm) -> int:
    """Samples of an optimizer step over all processes."""
    return config.train.batch_size * config.train.accumulate * comm.size


@dataclass
class Position:
    """How far a run has come and what it has used.

    Attributes:
        step: optimizer steps that are done.
        seconds: time of these steps.
        peak_memory: bytes.
        skipped_steps: updates that the loss scaler left out.
        kernels: who served the operators in earlier processes of the run.
    """

    step: int = 0
    seconds: float = 0.0
    peak_memory: int = 0
    skipped_steps: int = 0
    kernels: Ledger = field(default_factory=dict)

    def note(self, parts: Parts) -> None:
        """Bring the run's record up to date."""
        record = parts.writer.record
        self.peak_memory = max(self.peak_memory, parts.backend.peak_memory())
        record.progress = Progress(
            step=self.step,
            epoch=self.step // parts.data.steps_per_epoch,
            samples=self.step * record.samples_per_step,
            total_steps=parts.total_steps,
            skipped_steps=self.skipped_steps,
        )
        parts.writer.note_speed(seconds=self.seconds, peak_memory=self.peak_memory)
        served = {operator: LedgerPage.model_validate(page) for operator, page in KERNELS.ledger.snapshot().items()}
        record.kernels = merge_ledgers(self.kernels, served)
        record.torch_not_deterministic = sorted({*record.torch_not_deterministic, *KERNELS.ledger.torch})
