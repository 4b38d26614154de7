"""Sun, sky and haze of a scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator
from portbev_world.rig import Camera

Array = NDArray[np.float64]
Image = NDArray[np.uint8]
_PANORAMA = (1536, 256)
_TOP = 0.75  # radians of elevation at the upper edge of the panorama


@dataclass(frozen=True)
class Light:
    """How a scene is lit.

    Attributes:
        sun: (3,) unit vector towards the sun, global frame.
        ambient, direct: (3,) factors on colours, blue green red.
        shadow: share of the light that a cast shadow takes away, 0 to 1.
        haze: (3,) colour of the haze and the horizon, blue green red.
        haze_range: distance in metres at which 63 % of the colour is haze.
        panorama: picture of the sky; azimuth along the columns, elevation from 0.75 rad down to 0 along the rows.
    """

    sun: Array
    ambient: Array
    direct: Array
    shadow: float
    haze: Array
    haze_range: float
    panorama: Image

    def fade(self, distance: Array | float) -> Array:
        """Share of haze at a distance in metres."""
        return np.asarray(1 - np.exp(-np.asarray(distance) / self.haze_range))

    def sky(self, camera: Camera, yaw: float) -> Image:
        """(H, W, 3) sky as seen by a camera with global ``yaw``, for the rows down to its horizon."""
        width, height = camera.size
        rows = min(height, int(np.ceil(camera.intrinsic[1, 2])) + 1)
        x = (np.arange(width) - camera.intrinsic[0, 2]) / camera.intrinsic[0, 0]
        y = (np.arange(rows) - camera.intrinsic[1, 2]) / camera.intrinsic[1, 1]
        azimuth = (yaw - np.arctan(x)) % (2 * np.pi) / (2 * np.pi) * _PANORAMA[0]
        elevation = np.arctan(-y[:, None] / np.sqrt(1 + x[None] ** 2))
        column = np.broadcast_to(azimuth[None], elevation.shape).astype(np.float32)
        row = ((1 - elevation / _TOP) * (_PANORAMA[1] - 1)).astype(np.float32)
        wide = cv2.copyMakeBorder(self.panorama, 0, 0, 0, 1, cv2.BORDER_WRAP)
        return np.asarray(cv2.remap(wide, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def build_light(seed: int, scene: int) -> Light:
    """Random daylight of a scene: clear, hazy or overcast."""
    rng = generator(seed, "synth", scene, "light")
    overcast = rng.random() < 0.3
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(28, 62))
    sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    warm = rng.uniform(-0.06, 0.06)
    tint = np.array([1 - warm, 1.0, 1 + warm])
    level = rng.uniform(0.88, 1.06)
    ambient, direct, shadow = (0.74, 0.3, 0.16) if overcast else (0.56, 0.56, 0.42)
    haze = np.array([214, 212, 208.0]) if overcast else np.array([232, 222, 208.0]) * rng.uniform(0.94, 1.04)
    zenith = np.array([196, 190, 184.0]) if overcast else np.array([226, 160, 96.0]) * rng.uniform(0.85, 1.05)
    haze = np.clip(haze, 0, 255)
    return Light(
        sun=sun,
        ambient=level * ambient * np.array([1.03, 1.0, 0.97]),
        direct=level * direct * tint,
        shadow=shadow,
        haze=haze,
        haze_range=float(rng.uniform(160, 420)),
        panorama=_paint_sky(haze, zenith, rng, 0.9 if overcast else float(rng.uniform(0.15, 0.75))),
    )


def _paint_sky(haze: Array, zenith: Array, rng: np.random.Generator, cover: float) -> Image:
    """The panorama: a gradient from ``haze`` to ``zenith`` with clouds, whose share is about ``cover``."""
    width, height = _PANORAMA
    up = np.linspace(1, 0, height)[:, None, None]
    sky = haze + (zenith - haze) * up**0.7
    clouds = np.zeros((height, width))
    for octave in range(4):
        columns = 6 * 2**octave
        cells = rng.normal(0, 1, (3 * 2**octave + 1, columns))
        wrapped = np.concatenate(
            [cells[:, -2:], cells, cells[:, :2]], axis=1
        )  # wraps around, so that the panorama has no seam
        cell = width // columns
        layer = cv2.resize(wrapped, ((columns + 4) * cell, height), interpolation=cv2.INTER_CUBIC)[:, 2 * cell :]
        clouds += layer[:, :width] / 2**octave
    cloud = np.clip((clouds - (0.9 - 1.3 * cover)) * 0.9, 0, 1)[:, :, None] * np.clip(up * 4, 0, 1)
    white = 0.35 * zenith + 0.65 * np.array([250, 250, 250.0])
    return np.clip(sky + (white - sky) * 0.8 * cloud, 0, 255).astype(np.uint8)
