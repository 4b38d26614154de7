"""What a model family offers, and what passes between data, models, training and metrics. May import: torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn


class Matrices(TypedDict):
    """Calibration and augmentation of a batch, float32, kept on the host (devices without matrix inverse exist).

    ``sensor2ego`` (B,S,N,4,4): camera of sweep s to the key frame's ego. ``intrin`` (B,S,N,4,4): K in the top-left 3x3.
    ``ida`` (B,S,N,4,4): source pixels to network input. ``sensor2sensor`` (B,S,N,4,4).
    ``bda`` (B,4,4): ego to augmented ego.
    """

    sensor2ego: Tensor
    intrin: Tensor
    ida: Tensor
    sensor2sensor: Tensor
    bda: Tensor


class Batch(TypedDict):
    """B samples. ``images`` and ``depth`` move to the device; everything else stays on the host.

    ``images`` (B,S,N,3,H,W) float32, normalised; S sweeps, key frame first; N cameras in training order.
    ``depth`` (B,N,H,W) float32 lidar depth in metres of the key frame, 0 = none; None when it is not needed.
    ``boxes``: B arrays (n,9) float32 [x y z dx dy dz yaw vx vy], key ego frame after BDA, z = box centre.
    ``labels``: B arrays (n,) int64, order of ``portbev.data.nuscenes.classes.DETECTION_CLASSES``.
    ``tokens``: sample tokens. ``ego2global``: B (4,4) float64, mean key ego pose of the six cameras.
    """

    images: Tensor
    mats: Matrices
    depth: Tensor | None
    boxes: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]
    tokens: list[str]
    ego2global: NDArray[np.float64]


@dataclass
class Detections:
    """Boxes found in one sample, in the key ego frame.

    ``boxes`` (n,9) [x y z dx dy dz yaw vx vy], z = centre; ``scores`` (n,); ``labels`` (n,).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


class DetectionModel(nn.Module):
    """What the training loop and the evaluation ask of a model."""

    def forward(self, batch: Batch) -> Any:
        """Raw outputs for a batch whose device tensors are on the model's device."""
        raise NotImplementedError

    def losses(self, outputs: Any, batch: Batch, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        """Loss terms as scalars; the training loss is their sum. Targets are made on the host.

        ``mean_over_ranks`` (float -> float) averages a normaliser over the ranks; None with one process.
        """
        raise NotImplementedError

    def decode(self, outputs: Any, batch: Batch) -> list[Detections]:
        """Detections per sample."""
        raise NotImplementedError


@dataclass
class Imported:
    """A checkpoint's weights under our own keys, and what was read of it."""

    state: dict[str, Tensor]
    notes: list[str] = field(default_factory=list)


@runtime_checkable
class ModelFamily(Protocol):
    """A family of models, offered by the hook ``portbev_models``.

    Attributes:
        name: value of ``model.family`` in a configuration.
        config: pydantic model of the rest of the ``model`` section.
    """

    name: str
    config: type[BaseModel]

    def build(self, config: Any) -> DetectionModel:
        """Model on the CPU with initial weights drawn from torch's generator."""
        ...

    def import_state(self, checkpoint: Mapping[str, Any], model: DetectionModel) -> Imported:
        """Weights of a checkpoint of the original implementation under our keys.

        Raises:
            CheckpointError: missing or unexpected keys or shapes, listed.
        """
        ...


def move_batch(batch: Batch, device: torch.device) -> Batch:
    """The batch with ``images`` and ``depth`` on ``device``."""
    moved = dict(batch)
    moved["images"] = batch["images"].to(device, non_blocking=True)
    moved["depth"] = None if batch["depth"] is None else batch["depth"].to(device, non_blocking=True)
    return moved  # type: ignore[return-value]
