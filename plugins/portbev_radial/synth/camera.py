"""The camera of generated recordings: slightly tilted, with lens distortion.

A picture is rendered with a level camera without distortion at the same position and a wider field of view, and then
warped. Both cameras see the same rays, so that the written calibration is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator
from portbev_radial.recordings.calibration import CameraCalibration
from portbev_radial.synth.world import RADAR_HEIGHT, World
from portbev_world.light import Light
from portbev_world.picture import Picture, View, cast_shadows, render
from portbev_world.rig import Camera
from portbev_world.road import Ground

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # world (X right, Y forward, Z up) to right, down, forward
_FOCAL = 0.95  # of the width
_WIDER = 1.2
_SMOOTHED = 768  # up to this width in pixels, pictures are rendered at twice the resolution to smooth edges


def draw_calibration(seed: int, image_size: tuple[int, int]) -> CameraCalibration:
    """The random calibration of a data set: a camera behind the windscreen, tilted by up to three degrees."""
    rng = generator(seed, "synth radial", "camera")
    width, height = image_size
    focal = _FOCAL * width * float(rng.uniform(0.98, 1.02))
    centre = np.array([width, height]) * rng.uniform(0.48, 0.52, 2)
    intrinsic = np.array([[focal, 0, centre[0]], [0, focal * 0.99, centre[1]], [0, 0, 1]])
    pitch, yaw, roll = np.deg2rad([rng.uniform(1.5, 3.0), rng.uniform(-1, 1), rng.uniform(-0.5, 0.5)])
    tilt = cv2.Rodrigues(np.array([pitch, yaw, roll]))[0]  # about the camera's right, down and forward axes
    matrix = tilt @ _LEVEL
    position = np.array([rng.uniform(-0.1, 0.2), rng.uniform(-1.7, -1.4), rng.uniform(0.85, 1.0)])
    return CameraCalibration(
        intrinsic=intrinsic,
        distortion=np.array([-0.12, 0.06, 6e-4, -4e-4, -0.01]) * rng.uniform(0.8, 1.2),
        rotation=np.asarray(cv2.Rodrigues(matrix)[0], np.float64).ravel(),
        translation=-matrix @ position,
    )


@dataclass(frozen=True)
class Lens:
    """The level camera, and the position in its image of each pixel of the picture, (H, W, 2) float32."""

    camera: Camera
    pixels: NDArray[np.float32]


def build_lens(calibration: CameraCalibration, image_size: tuple[int, int]) -> Lens:
    """The level camera for a calibration, and the map that warps its image."""
    width, height = image_size
    level_size = round(width * _WIDER), round(height * (_WIDER + 0.15))
    focal = float(calibration.intrinsic[0, 0])
    level = np.array([[focal, 0, (level_size[0] - 1) / 2], [0, focal, (level_size[1] - 1) / 2], [0, 0, 1]])
    x, y, z = calibration.position
    position = np.array([y, -x, z + RADAR_HEIGHT])
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).reshape(-1, 1, 2).astype(np.float64)
    rotation = _LEVEL @ calibration.matrix.T
    level_pixels = cv2.undistortPoints(grid, calibration.intrinsic, calibration.distortion, R=rotation, P=level)
    pixels = np.asarray(level_pixels, np.float32).reshape(height, width, 2)
    return Lens(Camera("camera", position, 0.0, level, level_size, 0), pixels)


@dataclass(frozen=True)
class Stage:
    """The static input of rendering: world, ground, light, shadows of still actors, indices of moving actors."""

    world: World
    ground: Ground
    light: Light
    shadows: Image
    moving: list[int]

    @classmethod
    def of(cls, world: World, ground: Ground, light: Light) -> Stage:
        """The stage of a world; casts the shadows of the actors that never move."""
        still = [i for i, actor in enumerate(world.actors) if not actor.track.moves]
        blank: Image = np.zeros(ground.levels[1].shape[:2], np.uint8)
        poses = world.poses(0.0)[still]
        shadows = cast_shadows(ground, [world.actors[i].body for i in still], poses, light.sun, blank)
        return cls(world, ground, light, shadows, sorted(set(range(len(world.actors))) - set(still)))

    def look(self, camera: Camera, time: float, *, count: bool = False) -> Picture:
        """Render the image of a level camera at a time [s]; ``count``: also count pixels without occlusion."""
        poses = self.world.poses(time)
        movers = [self.world.actors[i].body for i in self.moving]
        shadows = cast_shadows(self.ground, movers, poses[self.moving], self.light.sun, self.shadows)
        view = View.of(camera, self.world.ego_pose(time))
        scale = 2 if camera.size[0] <= _SMOOTHED else 1
        bodies = [actor.body for actor in self.world.actors]
        return render(view, bodies, poses, self.ground, self.light, shadows, scale, count)

    def photograph(self, lens: Lens, time: float) -> Image:
        """The picture (H, W, 3) blue green red of the real camera at a time [s]."""
        image = self.look(lens.camera, time).image
        warped = cv2.remap(image, lens.pixels, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        return np.asarray(warped, np.uint8)


def low_resolution(camera: Camera) -> Camera:
    """The same camera with at most 768 columns, for a cheap measurement of occlusion."""
    factor = min(1.0, _SMOOTHED / camera.size[0])
    size = round(camera.size[0] * factor), round(camera.size[1] * factor)
    intrinsic = camera.intrinsic * [[factor], [factor], [1]]
    return Camera(camera.channel, camera.position, camera.yaw, intrinsic, size, camera.delay)
