"""Batches of nuScenes: key frames with sweeps, and queues of frames."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
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
