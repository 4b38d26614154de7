"""Requests for nuScenes' two kinds of samples: pictures and calibration from outside of a data set, as a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portbev.config import RunConfig
from portbev.data.pictures import pixels
from portbev.errors import DataError
from portbev.export.interface import Field, Request
from portbev_nuscenes.batches import QueueBatch, QueueSample, SweepBatch, SweepSample, collate_queues, collate_sweeps
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_nuscenes.samples import augment
from portbev_nuscenes.samples.images import normalise
from portbev_nuscenes.samples.queue import QueueDataset
from portbev_nuscenes.samples.sweeps import SweepDataset

Array = NDArray[np.float64]

TOKEN = "request"
"""Of a sample that comes from nowhere."""

_K = "camera matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] of each camera, of the picture as it is given"
_NO_BOXES, _NO_LABELS = np.zeros((0, 9), np.float32), np.zeros(0, np.int64)


class SweepRequests:
    """Key frames with sweeps; the request form of data kind ``nuscenes``."""

    kind = "nuscenes"

    def facts(self, dataset: Any) -> dict[str, Any]:
        """Nothing: the configuration has the pictures' size."""
        return {}

    def fields(self, config: RunConfig, facts: Mapping[str, Any]) -> tuple[Field, ...]:
        """Pictures, intrinsics and camera-to-ego of each camera in each sweep."""
        section = cast(NuscenesData, config.data)
        shape = len(section.sweeps), len(section.cameras)
        which = f"cameras {', '.join(section.cameras)}"
        if shape[0] > 1:
            before = ", ".join(map(str, section.sweeps[1:]))
            which = f"the key frame, then those {before} before it (repeat the last there is), each with {which}"
        return (
            Field("images", "uint8", (*shape, *section.image.source_size, 3), f"pictures of {which}; RGB"),
            Field("intrinsics", "float64", (*shape, 3, 3), _K, unit="pixels"),
            Field(
                "camera2ego",
                "float64",
                (*shape, 4, 4),
                "pose that takes points of the camera (x right, y down, z forward) to the ego frame",
                unit="m",
                frame="ego of the key frame at that camera's exposure: x forward, y left, z up",
            ),
        )

    def frame(self) -> str:
        """Of boxes."""
        return "ego frame of the key frame: x forward, y left, z up; metres"

    def batch(self, requests: Sequence[Request], config: RunConfig, facts: Mapping[str, Any]) -> SweepBatch:
        """As the evaluation makes it."""
        section = cast(NuscenesData, config.data)
        return collate_sweeps([_sweeps(request, section, index) for index, request in enumerate(requests)])

    def request(self, dataset: Any, index: int) -> Request:
        """The request that asks for a sample."""
        return cast(SweepDataset, dataset).request(index)


class QueueRequests:
    """Single frames of a drive; the request form of data kind ``nuscenes_queue``."""

    kind = "nuscenes_queue"

    def facts(self, dataset: Any) -> dict[str, Any]:
        """The pictures' size."""
        return {"image_size": list(cast(QueueDataset, dataset).source_size)}

    def fields(self, config: RunConfig, facts: Mapping[str, Any]) -> tuple[Field, ...]:
        """Pictures, intrinsics and lidar-to-camera of each camera, and the vehicle's motion."""
        section = cast(NuscenesQueueData, config.data)
        count, (height, width) = len(section.cameras), facts.get("image_size", (None, None))
        which = f"cameras {', '.join(section.cameras)}"
        return (
            Field("images", "uint8", (count, height, width, 3), f"pictures of {which}; RGB"),
            Field("intrinsics", "float64", (count, 3, 3), _K, unit="pixels"),
            Field(
                "lidar2camera",
                "float64",
                (count, 4, 4),
                "pose that takes points of the lidar to the camera (x right, y down, z forward), by way of the ego "
                "poses at the times of both",
                unit="m",
                frame="LIDAR_TOP: x right, y forward, z up",
            ),
            Field(
                "can_bus",
                "float64",
                (18,),
                "motion: [:3] movement since the frame before in global x, y, z, [3:7] ego-to-global quaternion w, x, "
                "y, z, [7:10] acceleration, [10:13] rotation rate, [13:16] velocity in the ego frame, [16] yaw from 0 "
                "to 2 pi, [17] its change since the frame before in degrees; [:3] and [17] are 0 in a first frame",
                unit="m, m/s^2, rad/s, m/s, rad, degrees",
                frame="global and ego",
            ),
        )

    def frame(self) -> str:
        """Of boxes."""
        return "LIDAR_TOP of the frame: x right, y forward, z up; metres"

    def batch(self, requests: Sequence[Request], config: RunConfig, facts: Mapping[str, Any]) -> QueueBatch:
        """As the evaluation makes it, each frame as if none came before it: history is the state's."""
        section = cast(NuscenesQueueData, config.data)
        return collate_queues([_frame(request, section, index) for index, request in enumerate(requests)])

    def request(self, dataset: Any, index: int) -> Request:
        """The request that asks for a frame."""
        return cast(QueueDataset, dataset).request(index)


def _sweeps(request: Request, section: NuscenesData, index: int) -> SweepSample:
    aug, how = section.image, augment.middle_image(section.image)
    pictures = request["images"]
    sweeps, cameras = pictures.shape[:2]
    _check_poses(request["camera2ego"], f"request {index}: camera2ego")
    images = np.empty((sweeps, cameras, 3, *aug.final_size), np.float32)
    for s in range(sweeps):
        for n in range(cameras):
            moved = augment.transform_image(Image.fromarray(pictures[s, n]), how, aug.final_size)
            images[s, n] = normalise(np.asarray(moved), aug)
    intrin = _four(request["intrinsics"], f"request {index}: intrinsics")
    ida = np.broadcast_to(augment.image_matrix(how, aug.final_size), intrin.shape)
    return SweepSample(
        images=images,
        sensor2ego=np.asarray(request["camera2ego"], np.float32),
        intrin=intrin.astype(np.float32),
        ida=ida.astype(np.float32),
        sensor2sensor=np.broadcast_to(np.eye(4, dtype=np.float32), intrin.shape).copy(),
        bda=np.eye(4, dtype=np.float32),
        depth=None,
        boxes=_NO_BOXES,
        labels=_NO_LABELS,
        token=TOKEN,
        frame2global=np.eye(4),
    )


def _frame(request: Request, section: NuscenesQueueData, index: int) -> QueueSample:
    pictures = request["images"]
    _check_poses(request["lidar2camera"], f"request {index}: lidar2camera")
    intrin = _four(request["intrinsics"], f"request {index}: intrinsics")
    size = pixels.scaled_size((pictures.shape[1], pictures.shape[2]), section.scale)
    padded = pixels.padded_size(size, section.pad_divisor)
    images = np.zeros((1, len(pictures), 3, *padded), np.float32)
    for n, picture in enumerate(pictures):
        image = picture.astype(np.float32)
        planes = pixels.to_input(image, section.mean, section.std, section.scale, swap=section.bgr)
        images[0, n, :, : size[0], : size[1]] = planes.transpose(2, 0, 1)
    return QueueSample(
        images=images,
        lidar2img=(pixels.scale_matrix(section.scale) @ intrin @ request["lidar2camera"])[None],
        can_bus=np.asarray(request["can_bus"], np.float64)[None],
        continues=np.zeros(1, bool),
        previous="",
        image_size=size,
        boxes=_NO_BOXES,
        labels=_NO_LABELS,
        token=TOKEN,
        frame2global=np.eye(4),
    )


def _four(intrinsics: NDArray[Any], where: str) -> Array:
    """(..., 4, 4) with the camera matrices (..., 3, 3) in the upper left.

    Raises:
        DataError: rows that no camera has.
    """
    last = np.array([0.0, 0.0, 1.0])
    if (
        (intrinsics[..., 0, 0] <= 0).any()
        or (intrinsics[..., 1, 1] <= 0).any()
        or (intrinsics[..., 2, :] != last).any()
    ):
        raise DataError("is no camera matrix", where=where, cure="Give [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    four = np.zeros((*intrinsics.shape[:-2], 4, 4))
    four[..., :3, :3] = intrinsics
    four[..., 3, 3] = 1
    return four


def _check_poses(poses: NDArray[Any], where: str) -> None:
    """Raise for matrices (..., 4, 4) that do not turn and move."""
    rotation = poses[..., :3, :3]
    turned = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max() < 1e-3
    if not turned or (np.linalg.det(rotation) < 0).any() or (poses[..., 3, :] != [0, 0, 0, 1]).any():
        cure = "Give [[R, t], [0, 0, 0, 1]] with a rotation R and a translation t in metres"
        raise DataError("is no pose", where=where, cure=cure)
