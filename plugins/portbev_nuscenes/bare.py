"""Samples of noise in the sizes of a ``data`` section, seen by nuScenes' cameras: batches without data on disk.

Pixels are noise; calibration, motion and two boxes are plausible, so that as much of the grid is visible as on a road.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.data.pictures.pixels import padded_size, scale_matrix, scaled_size
from portbev.geometry import inverse_pose, pose
from portbev_nuscenes.batches import QueueBatch, QueueSample, SweepBatch, SweepSample, collate_queues, collate_sweeps
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_world.rig import NATIVE_SIZE, Camera, Rig, build_rig

Array = NDArray[np.float64]
FRAME, FIRST = "noise", ""
BOXES = np.array([[10, 3, -0.5, 4.5, 1.9, 1.6, 0.3, 3, 0], [-12, -9, 0, 9.5, 2.9, 3.6, 1.6, 0, 0.5]], np.float32)
LABELS = np.array([0, 3], np.int64)
_MOVED, _COURSE = 4.0, 0.7  # metres and degrees from one frame to the next


def bare_queues(section: NuscenesQueueData, samples: int, *, frames: int, continues: bool = True) -> QueueBatch:
    """A batch of data kind ``nuscenes_queue``.

    Args:
        section: sizes and cameras.
        frames: T, the queue's length; 1 in evaluation.
        continues: whether the frame of an evaluation continues the one before it, which has the same token.
    """
    width, height = _source_size(section.root)
    rig, cameras = _rig((width, height), section.cameras)
    size = scaled_size((height, width), section.scale)
    padded = padded_size(size, section.pad_divisor)
    to_input = scale_matrix(section.scale)
    lidar2ego = pose(rig.lidar.rotation, rig.lidar.position)
    matrices = [to_input @ _camera_matrix(camera) @ inverse_pose(_pose(camera)) @ lidar2ego for camera in cameras]
    can_bus = np.zeros((frames, 18))
    can_bus[1 - continues :, [0, 16, 17]] = _MOVED, np.deg2rad(_COURSE), _COURSE
    rng = np.random.default_rng(0)
    sample = QueueSample(
        images=rng.standard_normal((frames, len(matrices), 3, *padded), np.float32),
        lidar2img=np.stack([matrices] * frames),
        can_bus=can_bus,
        continues=np.arange(frames) >= 1 - (continues and frames == 1),
        previous=FRAME if continues and frames == 1 else FIRST,
        image_size=size,
        boxes=BOXES,
        labels=LABELS,
        token=FRAME,
        frame2global=np.eye(4),
    )
    return collate_queues([sample] * samples)


def bare_sweeps(section: NuscenesData, samples: int) -> SweepBatch:
    """A batch of data kind ``nuscenes`` with the depth of about one pixel in fifty."""
    (height, width), (rows, columns) = section.image.source_size, section.image.final_size
    _, cameras = _rig((width, height), section.cameras)
    scale = columns / width
    ida = scale_matrix(scale)
    ida[1, 3] = rows - height * scale  # the upper part is cropped
    sweeps, count = len(section.sweeps), len(cameras)
    rng = np.random.default_rng(0)
    depth = rng.uniform(2, 58, (count, rows, columns)) * (rng.random((count, rows, columns)) < 0.02)
    back = np.eye(4)[None].repeat(sweeps, 0)
    back[:, 0, 3] = -_MOVED * np.array(section.sweeps)
    poses = np.stack([_pose(camera) for camera in cameras])

    def every(matrices: Array) -> NDArray[np.float32]:
        """(S,N,4,4) of matrices that broadcast to it."""
        return np.ascontiguousarray(np.broadcast_to(matrices, (sweeps, count, 4, 4)), np.float32)

    sample = SweepSample(
        images=rng.standard_normal((sweeps, count, 3, rows, columns), np.float32),
        sensor2ego=every(back[:, None] @ poses),
        intrin=every(np.stack([_camera_matrix(camera) for camera in cameras])),
        ida=every(ida),
        sensor2sensor=every(np.eye(4)),
        bda=np.eye(4, dtype=np.float32),
        depth=depth.astype(np.float32) if section.depth_labels else None,
        boxes=BOXES,
        labels=LABELS,
        token=FRAME,
        frame2global=np.eye(4),
    )
    return collate_sweeps([sample] * samples)


def _source_size(root: str | None) -> tuple[int, int]:
    """(width, height) of the pictures: of those that a generated root would have, or nuScenes' own."""
    from portbev_nuscenes.synth.root import SCHEME

    return SCHEME.parse(root).image_size if root and SCHEME.matches(root) else NATIVE_SIZE


def _rig(size: tuple[int, int], names: tuple[str, ...]) -> tuple[Rig, list[Camera]]:
    """nuScenes' rig, and its cameras with these names; names that it does not have get cameras by turns."""
    rig = build_rig(0, 0, size, beams=1, steps=1)
    named = {camera.channel: camera for camera in rig.cameras}
    return rig, [named.get(name, rig.cameras[number % len(named)]) for number, name in enumerate(names)]


def _pose(camera: Camera) -> Array:
    return np.asarray(pose(camera.rotation, camera.position))


def _camera_matrix(camera: Camera) -> Array:
    matrix = np.eye(4)
    matrix[:3, :3] = camera.intrinsic
    return matrix
