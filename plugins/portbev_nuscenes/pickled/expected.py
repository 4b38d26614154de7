"""What the tables say of a sample, in the terms of the originals' infos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portbev.geometry import inverse_pose, pose, quaternion_inverse, quaternion_product, transform
from portbev.paths import DataPath
from portbev_nuscenes.classes import Categories
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.rows import LIDAR


@dataclass(frozen=True)
class Frame:
    """A key frame of a sensor as the tables have it."""

    file: str
    time: float
    sensor_translation: NDArray[np.float64]
    sensor_rotation: NDArray[np.float64]
    ego_translation: NDArray[np.float64]
    ego_rotation: NDArray[np.float64]
    intrinsic: NDArray[np.float64]

    @property
    def sensor2ego(self) -> NDArray[np.float64]:
        return pose(self.sensor_rotation, self.sensor_translation)

    @property
    def ego2global(self) -> NDArray[np.float64]:
        return pose(self.ego_rotation, self.ego_translation)


@dataclass(frozen=True)
class Boxes:
    """The annotated boxes of a sample; ``lidar`` (n, 7): centre, width, length, height, yaw in the lidar's frame."""

    names: list[str]
    lidar: NDArray[np.float64]
    lidar_velocity: NDArray[np.float64]
    translation: NDArray[np.float64]
    size: NDArray[np.float64]
    velocity: NDArray[np.float64]
    points: NDArray[np.int32]


class Tables:
    """What the tables say of a sample, in the originals' terms."""

    def __init__(self, root: DataPath, version: str) -> None:
        self.index: Index = load_index(root, version)
        self.root, self.version = root, version
        self.rows = {token.decode(): row for row, token in enumerate(self.index.sample_token.tolist())}
        self.channels = [channel.decode() for channel in self.index.channels]
        self.categories = Categories()

    def frame(self, sample: int, channel: str) -> Frame | None:
        """The key frame of a channel; None where there is none."""
        if channel not in self.channels:
            return None
        row = int(self.index.key_frames[sample, self.channels.index(channel)])
        if row < 0:
            return None
        index, calibration = self.index, int(self.index.frame_calibration[row])
        return Frame(
            index.frame_file[row].decode(),
            float(index.frame_time[row]),
            index.calibration_translation[calibration],
            index.calibration_rotation[calibration],
            index.frame_translation[row],
            index.frame_rotation[row],
            index.calibration_intrinsic[calibration],
        )

    def boxes(self, sample: int) -> Boxes:
        """The boxes, in the order of the table of annotations."""
        index, rows = self.index, slice(*self.index.box_start[sample : sample + 2])
        names = [index.categories[one].decode() for one in index.box_category[rows]]
        names = [self.categories.class_of(name) or name for name in names]
        parts = index.box_translation[rows], index.box_size[rows], index.box_rotation[rows], index.box_velocity[rows]
        translation, size, rotation, velocity = parts
        lidar = self.frame(sample, LIDAR)
        local = np.full((len(names), 7), np.nan)
        moved = np.full((len(names), 2), np.nan)
        if lidar is not None:
            matrix = lidar.ego2global @ lidar.sensor2ego
            turned = [
                quaternion_inverse(one / np.linalg.norm(one)) for one in (lidar.sensor_rotation, lidar.ego_rotation)
            ]
            inside = quaternion_product(turned[0], quaternion_product(turned[1], rotation))
            yaw = _devkit_yaw(inside)
            local = np.concatenate([transform(inverse_pose(matrix), translation), size, yaw[:, None]], 1)
            flat = np.where([True, True, False], velocity, 0.0)  # as mmdet3d takes it: x and y alone
            moved = (flat @ matrix[:3, :3])[:, :2]
        return Boxes(names, local, moved, translation, size, velocity, index.box_points[rows])


def _devkit_yaw(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw as pyquaternion's ``yaw_pitch_roll`` has it, which converters take."""
    unit = rotation / np.linalg.norm(rotation, axis=-1, keepdims=True)
    w, x, y, z = np.moveaxis(unit, -1, 0)
    made: NDArray[np.float64] = np.arctan2(2 * (w * z - x * y), 1 - 2 * (y * y + z * z))
    return made


def neighbour(tables: Tables, sample: int, step: int) -> str:
    """Token of the sample that many key frames later in the scene; empty where there is none."""
    other, scenes = sample + step, tables.index.sample_scene
    return tables.index.token(other) if 0 <= other < len(scenes) and scenes[other] == scenes[sample] else ""
