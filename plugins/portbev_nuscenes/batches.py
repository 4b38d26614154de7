"""The two kinds of batches of nuScenes (key frames with sweeps, queues of frames) and their collate functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.models import Batch


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


class SweepSample(TypedDict):
    """One sample; the shapes are those of :class:`portbev_nuscenes.batches.SweepBatch` without B."""

    images: NDArray[np.float32]
    sensor2ego: NDArray[np.float32]
    intrin: NDArray[np.float32]
    ida: NDArray[np.float32]
    sensor2sensor: NDArray[np.float32]
    bda: NDArray[np.float32]
    depth: NDArray[np.float32] | None
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    token: str
    frame2global: NDArray[np.float64]


class QueueSample(TypedDict):
    """One sample; the shapes are those of :class:`portbev_nuscenes.batches.QueueBatch` without B."""

    images: NDArray[np.float32]
    lidar2img: NDArray[np.float64]
    can_bus: NDArray[np.float64]
    continues: NDArray[np.bool_]
    previous: str
    image_size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    token: str
    frame2global: NDArray[np.float64]


def collate_sweeps(samples: Sequence[SweepSample]) -> SweepBatch:
    """A batch of at least one sample; depth is None unless every sample has it."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([sample[name] for sample in samples]))  # type: ignore[literal-required]

    return SweepBatch(
        images=stack("images"),
        mats=Matrices(
            sensor2ego=stack("sensor2ego"),
            intrin=stack("intrin"),
            ida=stack("ida"),
            sensor2sensor=stack("sensor2sensor"),
            bda=stack("bda"),
        ),
        depth=None if any(sample["depth"] is None for sample in samples) else stack("depth"),
        boxes=[sample["boxes"] for sample in samples],
        labels=[sample["labels"] for sample in samples],
        tokens=[sample["token"] for sample in samples],
        frame2global=np.stack([sample["frame2global"] for sample in samples]),
    )


def collate_queues(samples: Sequence[QueueSample]) -> QueueBatch:
    """A batch of at least one sample of one data set."""
    return QueueBatch(
        images=torch.from_numpy(np.stack([sample["images"] for sample in samples])),
        lidar2img=np.stack([sample["lidar2img"] for sample in samples]),
        can_bus=np.stack([sample["can_bus"] for sample in samples]),
        continues=np.stack([sample["continues"] for sample in samples]),
        previous=[sample["previous"] for sample in samples],
        image_size=samples[0]["image_size"],
        boxes=[sample["boxes"] for sample in samples],
        labels=[sample["labels"] for sample in samples],
        tokens=[sample["token"] for sample in samples],
        frame2global=np.stack([sample["frame2global"] for sample in samples]),
    )
