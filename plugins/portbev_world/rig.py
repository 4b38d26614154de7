"""The sensors: six cameras and a lidar, placed as on the nuScenes car."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator

Array = NDArray[np.float64]
NATIVE_SIZE = (1600, 900)
LIDAR_CHANNEL = "LIDAR_TOP"

#: Channel: position in the ego frame (m), yaw (degrees), focal length and principal point at 1600 x 900 (pixels),
#: trigger before (-) or after the lidar (ms). The cameras are triggered one after the other, as the lidar beam passes.
_CAMERAS: dict[str, tuple[tuple[float, float, float], float, tuple[float, float, float], float]] = {
    "CAM_FRONT_LEFT": ((1.524, 0.495, 1.509), 55.0, (1272.6, 826.6, 479.8), -6.0),
    "CAM_FRONT": ((1.701, 0.016, 1.511), 0.0, (1266.4, 816.3, 491.5), -4.0),
    "CAM_FRONT_RIGHT": ((1.551, -0.493, 1.496), -55.0, (1260.8, 808.0, 495.3), -2.0),
    "CAM_BACK_LEFT": ((1.036, 0.485, 1.591), 110.0, (1256.7, 792.1, 492.8), 4.0),
    "CAM_BACK": ((0.028, 0.003, 1.579), 180.0, (809.2, 829.2, 481.8), 2.0),
    "CAM_BACK_RIGHT": ((1.015, -0.481, 1.562), -110.0, (1259.5, 807.3, 501.2), 0.0),
}
CAMERA_CHANNELS = tuple(_CAMERAS)
_LIDAR = (0.943713, 0.0, 1.84023)
_LOWEST, _HIGHEST = -30.67, 10.67


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without pitch and roll: its optical axis is level.

    Attributes:
        channel: nuScenes name.
        position: (3,) in the ego frame, metres.
        yaw: yaw of the optical axis in the ego frame, radians.
        intrinsic: (3, 3) in pixels, pixel centres at whole numbers.
        size: (width, height).
        delay: microseconds from the lidar's time to the picture.
    """

    channel: str
    position: Array
    yaw: float
    intrinsic: Array
    size: tuple[int, int]
    delay: int

    @property
    def rotation(self) -> tuple[float, float, float, float]:
        """Quaternion (w, x, y, z) from the camera's frame (x right, y down, z forward) to the ego frame."""
        w, z = np.cos(self.yaw / 2), np.sin(self.yaw / 2)
        return float(0.5 * (w + z)), float(-0.5 * (w + z)), float(0.5 * (w - z)), float(0.5 * (z - w))


@dataclass(frozen=True)
class Lidar:
    """A spinning lidar; with the default ``yaw`` its frame has x to the right of the ego, y forward, z up.

    Attributes:
        position: (3,) in the ego frame, metres.
        elevations: (beams,) radians, lowest first (ring 0).
        steps: rays per turn.
        yaw: yaw of its frame in the ego frame, radians.
    """

    position: Array
    elevations: Array
    steps: int
    yaw: float = -np.pi / 2

    @property
    def rotation(self) -> tuple[float, float, float, float]:
        """Quaternion (w, x, y, z) from the lidar's frame to the ego frame."""
        return float(np.cos(self.yaw / 2)), 0.0, 0.0, float(np.sin(self.yaw / 2))


@dataclass(frozen=True)
class Rig:
    """Six cameras, in the order of the training pipeline, and a lidar."""

    cameras: list[Camera]
    lidar: Lidar


def build_rig(seed: int, scene: int, image_size: tuple[int, int], beams: int, steps: int) -> Rig:
    """The nuScenes rig, with each camera of the scene displaced by up to 1 cm and turned by up to 0.2 degrees."""
    scale = np.array([image_size[0] / NATIVE_SIZE[0], image_size[1] / NATIVE_SIZE[1]])
    cameras = []
    for channel, (position, yaw, (focal, cx, cy), delay) in _CAMERAS.items():
        rng = generator(seed, "synth", scene, "rig", channel)
        offset, yaw_error = rng.uniform(-0.01, 0.01, 3), rng.uniform(-0.2, 0.2)
        intrinsic = np.array([[focal * scale[0], 0, cx * scale[0]], [0, focal * scale[1], cy * scale[1]], [0, 0, 1]])
        cameras.append(
            Camera(
                channel,
                np.array(position) + offset,
                float(np.deg2rad(yaw + yaw_error)),
                intrinsic,
                image_size,
                round(delay * 1000),
            )
        )
    elevations = np.deg2rad(np.linspace(_LOWEST, _HIGHEST, beams)) if beams > 1 else np.deg2rad([-5.0])
    return Rig(cameras, Lidar(np.array(_LIDAR), elevations, steps))
