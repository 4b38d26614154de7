"""What a model family offers, and what passes between data, models, training and metrics. May import: torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict, cast, runtime_checkable

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
    """B samples: what every kind of data has. Its tensors move to the device (see :func:`move_batch`).

    ``boxes``: B arrays (n,9) float32 [x y z dx dy dz yaw vx vy] in the sample's frame, z = box centre.
    ``labels``: B arrays (n,) int64; on nuScenes in the order of ``portbev.data.nuscenes.classes.DETECTION_CLASSES``.
    ``tokens``: sample tokens.
    ``frame2global`` (B,4,4) float64: pose of the frame that boxes and detections are in.
    """

    boxes: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]
    tokens: list[str]
    frame2global: NDArray[np.float64]


class SweepBatch(Batch):
    """Batch of data kind ``nuscenes``: key frame and earlier sweeps of each camera; the frame is the key ego after BDA.

    ``images`` (B,S,N,3,H,W) float32, normalised; S sweeps, key frame first; N cameras in training order.
    ``depth`` (B,N,H,W) float32 lidar depth in metres of the key frame, 0 = none; None when it is not needed.
    ``frame2global`` is the mean key ego pose of the cameras.
    """

    images: Tensor
    mats: Matrices
    depth: Tensor | None


class QueueBatch(Batch):
    """Batch of data kind ``nuscenes_queue``: T frames of a scene in order, the current one last; the LIDAR_TOP frame.

    T is the queue's length in training and 1 in evaluation.

    ``images`` (B,T,N,3,H,W) float32, normalised and padded.
    ``lidar2img`` (B,T,N,4,4) float64: LIDAR_TOP frame [m] to (u*d, v*d, d, 1) in pixels of the network's input.
    ``can_bus`` (B,T,18) float64: [:3] and [17] are differences to the previous frame, 0 where there is none.
    ``continues`` (B,T) bool: the frame continues the one before it (same scene, next in order).
    ``previous``: in evaluation the token of the frame that this one continues, "" if none.
    ``image_size``: (height, width) of the images before padding.
    """

    images: Tensor
    lidar2img: NDArray[np.float64]
    can_bus: NDArray[np.float64]
    continues: NDArray[np.bool_]
    previous: list[str]
    image_size: tuple[int, int]


class RadialBatch(Batch):
    """Batch of data kind ``radial``; the radar frame: x forward, y left, z up. ``frame2global`` is the identity.

    ``images`` (B,3,H,W) float32, normalised and padded; None when the camera is left out.
    ``image_size``: (height, width) of the images before padding.
    ``radar_kind``: ``raw``, or the product of the signal chain that ``radar`` holds (rt, rd, ra, adc, pc), or ``none``.
    ``radar_product``: the product that the data are configured for (``data.radar``), also where samples are raw.
    ``radar``: raw: (B,4,V) int16, what chips 0 to 3 wrote, V = 2*S*4*C; rt, rd, adc: (B,S,C,16,2) float32 real and
    imaginary part; ra: (B,S,n_az) float32; pc: B tensors (n,4) float32 range [m], Doppler bin, azimuth and elevation
    [rad], which stay on the host; none: None.
    ``calibration``: of the camera, float64: K (B,3,3) in pixels of the network's input, dist (B,5), rvec (B,3) and
    tvec (B,3) [m] from the world (X right, Y forward, Z up) as OpenCV has them; empty when the camera is left out.
    ``table``: path of the radar's calibration table. ``description``: its sizes (``portbev.signal.RadarDescription``).
    """

    images: Tensor | None
    image_size: tuple[int, int]
    radar: Tensor | list[Tensor] | None
    radar_kind: str
    radar_product: str
    calibration: dict[str, NDArray[np.float64]]
    table: str
    description: Any


@dataclass
class Detections:
    """Boxes found in one sample, in the batch's frame (``frame2global``).

    ``boxes`` (n,9) [x y z dx dy dz yaw vx vy], z = centre; ``scores`` (n,); ``labels`` (n,).
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


class DetectionModel(nn.Module):
    """What the training loop and the evaluation ask of a model. A family's batch is the one of its data kind."""

    def begin_stream(self) -> None:
        """Forget earlier frames: the evaluation calls it before its first batch. Models without memory do nothing."""

    def forward(self, batch: Any) -> Any:
        """Raw outputs for a batch whose device tensors are on the model's device."""
        raise NotImplementedError

    def losses(self, outputs: Any, batch: Any, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        """Loss terms as scalars; the training loss is their sum. Targets are made on the host.

        Called outside autocast, with half-precision outputs as float32 (:func:`portbev.outputs.in_float32`).
        ``mean_over_ranks`` (float -> float) averages a normaliser over the ranks; None with one process.
        """
        raise NotImplementedError

    def decode(self, outputs: Any, batch: Any) -> list[Detections]:
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
    """The batch with every top-level tensor on ``device``; arrays, lists and nested mappings stay on the host."""
    moved = {
        key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value for key, value in batch.items()
    }
    return cast(Batch, moved)
