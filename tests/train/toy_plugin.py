"""A model family small enough to train in milliseconds, offered as a plugin offers one."""

from __future__ import annotations

import os
import signal
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from portbev.config.meaning import Meaning
from portbev.config.schema import ModelSection, RunConfig
from portbev.errors import CheckpointError, DataError
from portbev.hookspecs import hookimpl
from portbev.models import DetectionModel, Detections, Imported
from portbev.nn.dropout import Dropout
from portbev_nuscenes.batches import QueueBatch, SweepBatch

CELLS, CLASSES, RANGE = 8, 10, 50.0


class ToyConfig(ModelSection):
    family: str = "toy"
    channels: int = 4
    batchnorm: bool = True
    dropout: float = 0.1
    nan_at_forward: int | None = None  # forward pass (of training) whose middle layer gives NaN
    spare: bool = False  # a layer that no step uses
    overflow_at_forward: int | None = None  # forward pass (of training) whose scaled gradient exceeds fp16's range
    killed_at_forward: Annotated[int | None, Meaning.NEITHER] = None  # that kills the second process, not a restarted
    error_at_forward: Annotated[int | None, Meaning.NEITHER] = None  # in which the second process raises an error
    sleep: float = 0.0  # seconds per forward pass, so that a test can strike in the middle


class Middle(nn.Module):
    """A layer that can be told to fail."""

    def __init__(self, nan_at: int | None) -> None:
        super().__init__()
        self.nan_at, self.step = nan_at, 0

    def forward(self, x: Tensor) -> Tensor:
        return x * float("nan") if self.training and self.step == self.nan_at else x


class ToyModel(DetectionModel):
    """Pools the pictures and guesses a coarse bird's-eye view of object counts."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(3, config.channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(config.channels) if config.batchnorm else nn.Identity()
        self.middle = Middle(config.nan_at_forward)
        self.drop = Dropout(config.dropout)
        self.spare = nn.Linear(2, 2) if config.spare else None
        self.head = nn.Linear(6 * config.channels * 4, CLASSES * CELLS * CELLS)

    def forward(self, batch: SweepBatch) -> Tensor:
        if self.config.sleep and self.training:
            import time

            time.sleep(self.config.sleep)
        images = batch["images"][:, 0]  # (B, N, 3, H, W)
        samples, cameras = images.shape[:2]
        x = functional.relu(self.norm(self.stem(images.flatten(0, 1))))
        x = functional.adaptive_avg_pool2d(x, 2).reshape(samples, cameras * self.config.channels * 4)
        self.middle.step = self.drop.step
        first_start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        step = self.drop.step if self.training and os.environ.get("RANK") == "1" and first_start else None
        if step is not None and step == self.config.killed_at_forward:
            os.kill(os.getpid(), signal.SIGKILL)
        if step is not None and step == self.config.error_at_forward:
            raise DataError("cannot be used", where=batch["tokens"][0])
        return self.head(self.drop(self.middle(x))).reshape(samples, CLASSES, CELLS, CELLS)

    def losses(self, outputs: Tensor, batch: SweepBatch, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        target = np.zeros(outputs.shape, np.float32)
        for index, (boxes, labels) in enumerate(zip(batch["boxes"], batch["labels"], strict=True)):
            for box, label in zip(boxes, labels, strict=True):
                x, y = (int((c + RANGE) / (2 * RANGE) * CELLS) for c in box[:2])
                if 0 <= x < CELLS and 0 <= y < CELLS:
                    target[index, label, y, x] = 1
        truth = torch.from_numpy(target).to(outputs.device)
        assert outputs.dtype == torch.float32, "losses get float32"
        heat = functional.binary_cross_entropy_with_logits(outputs, truth)
        if self.training and self.middle.step == self.config.overflow_at_forward:
            heat = heat * 1e38
        return {"heat": heat, "small": outputs.square().mean() * 1e-3}

    def decode(self, outputs: Tensor, batch: SweepBatch) -> list[Detections]:
        found = []
        for logits in outputs.float().sigmoid().cpu():
            scores, order = logits.flatten().topk(20)
            cells = torch.stack([order // CELLS**2, order // CELLS % CELLS, order % CELLS], 1).numpy()
            boxes = np.ones((len(order), 9), np.float32)
            boxes[:, 0] = (cells[:, 2] + 0.5) * 2 * RANGE / CELLS - RANGE
            boxes[:, 1] = (cells[:, 1] + 0.5) * 2 * RANGE / CELLS - RANGE
            found.append(Detections(boxes, scores.numpy(), cells[:, 0].astype(np.int64)))
        return found


class ToyFamily:
    name = "toy"
    config = ToyConfig
    takes: tuple[str, ...] = ("nuscenes",)

    def build(self, config: ToyConfig) -> ToyModel:
        return ToyModel(config)

    def agree(self, config: RunConfig) -> list[str]:
        return []

    def import_state(self, checkpoint: Any, model: DetectionModel) -> Imported:
        state = checkpoint.get("state_dict", checkpoint)
        if not all(key.startswith("model.") for key in state):
            raise CheckpointError("unexpected keys", where="state_dict")
        return Imported({key.removeprefix("model."): value for key, value in state.items()}, ["imported"])


class RememberingModel(ToyModel):
    """Of queues: takes the last frame, and in evaluation moves its boxes by the frames of the scene seen before."""

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.begin_stream()

    def begin_stream(self) -> None:
        self.last, self.count = "", 0

    def forward(self, batch: QueueBatch) -> Tensor:  # type: ignore[override]
        if not self.training:
            before = batch["previous"][0]
            if before not in ("", self.last):
                raise DataError(f"frame {before} was not the last one seen ({self.last!r})")
            self.count = self.count + 1 if before else 0
            self.last = batch["tokens"][0]
        return super().forward({"images": batch["images"][:, -1:]})  # type: ignore[typeddict-item]

    def decode(self, outputs: Tensor, batch: QueueBatch) -> list[Detections]:  # type: ignore[override]
        found = super().decode(outputs, batch)  # type: ignore[arg-type]
        found[0].boxes[:, 2] = self.count
        return found


class RememberingFamily(ToyFamily):
    name = "toy_stream"
    takes = ("nuscenes_queue",)

    def build(self, config: ToyConfig) -> RememberingModel:
        return RememberingModel(config)


@hookimpl
def portbev_models() -> list[Any]:
    return [ToyFamily(), RememberingFamily()]
