"""Where the camera sees the cells of the polar bird's-eye view.

The world of the calibration: X right, Y forward, Z up, metres. Rows are ranges, columns azimuths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev_echofusion.config import EchoFusionConfig

Array = NDArray[np.float64]
Calibration = dict[str, Array]
RAYS = 128
"""Metres that the original's image rays span, by mistake: the number of its cells."""


@dataclass(frozen=True)
class Grid:
    """Cells of a level: ``azimuth`` (Az,) radians to the right of ahead, ``radius`` (R,) and ``height`` (Z,) metres."""

    azimuth: Array
    radius: Array
    height: Array

    def points(self) -> Array:
        """(Z,R,Az,3) places of the world."""
        z, y, x = np.meshgrid(self.height, self.radius, self.azimuth, indexing="ij")
        return np.stack([np.sin(x) * y, np.cos(x) * y, z], -1)


@dataclass(frozen=True)
class Sight:
    """Where each cell reads the image rays of a level; float32.

    ``column`` (Z,R,Az) and ``row`` (R,Az): pixel of the rays (R rows, W columns). ``weight`` (Z,R,Az): share of each
    height in the mean, 0 where the cell is not seen.
    """

    column: NDArray[np.float32]
    row: NDArray[np.float32]
    weight: NDArray[np.float32]

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(R,Az) which cells are seen."""
        return np.asarray((self.weight > 0).any(0))


def polar_grid(config: EchoFusionConfig, level: int) -> Grid:
    """Centres of the cells of a level."""
    polar, scale = config.polar, 2**level
    span, (bottom, top) = math.radians(polar.angle), polar.z_range
    columns, rows = polar.azimuths // scale, config.rows // scale
    official = config.quirks.grid == "official"
    angle_step, range_step = scale * span / polar.azimuths, scale * polar.range_max / config.rows
    height_step = scale * (top - bottom) / polar.heights
    angle_first, range_first, height_first = angle_step / 2, range_step / 2, height_step / 2
    if official:  # of the first level, on all of them; and half of the reciprocal, not of the step, for azimuths
        angle_first, range_first = 1 / (2 * polar.azimuths), range_first / scale
        height_first /= scale
    azimuth = np.arange(columns) * angle_step - span / 2 + angle_first
    return Grid(
        azimuth=azimuth if config.mirror == "official" else -azimuth,
        radius=np.arange(rows) * range_step + range_first,
        height=np.arange(math.ceil(polar.heights / scale)) * height_step + bottom + height_first,
    )


def sight(config: EchoFusionConfig, level: int, calibration: Calibration, image: tuple[int, int], width: int) -> Sight:
    """Where the cells of ``level`` lie in its image rays.

    Args:
        calibration: K (3,3) of the network's input, dist (5,), rvec (3,), tvec (3,) of one camera.
        image: (height, width) of the network's input without padding.
        width: columns of the level's feature map.
    """
    grid, quirks, stride = polar_grid(config, level), config.quirks, 16 * 2**level
    points, rows = grid.points(), config.rows // 2**level
    pixels, _ = cv2.projectPoints(
        points.reshape(-1, 3), calibration["rvec"], calibration["tvec"], calibration["K"], calibration["dist"]
    )
    u, v = np.asarray(pixels, np.float64).reshape(*points.shape[:3], 2).transpose(3, 0, 1, 2)
    rotation = np.asarray(cv2.Rodrigues(calibration["rvec"])[0], np.float64)
    center = -np.linalg.solve(rotation, calibration["tvec"])
    distance = np.hypot(points[0, ..., 0] - center[0], points[0, ..., 1] - center[1])
    if quirks.sampling == "official":
        column = (np.clip(2 * u / (width * stride) - 1, -1, 1) + 1) / 2 * (width - 1)
        row = (np.clip(2 * distance / RAYS - 1, -1, 1) + 1) / 2 * (rows - 1)
    else:
        column = np.clip(u / stride, 0, width - 1)
        row = np.clip(distance / config.polar.range_max * rows - 0.5, 0, rows - 1)
    if quirks.visibility == "official":
        inside = (column > 0) & (column < width - 1) & (row > 0) & (row < rows - 1)
        weight = np.broadcast_to(inside.all(0) / len(column), column.shape)
    else:
        depth = points @ rotation[2] + calibration["tvec"][2]
        inside = (depth > 0) & (u >= 0) & (u < image[1]) & (v >= 0) & (v < image[0])
        weight = inside / np.maximum(inside.sum(0), 1)
    return Sight(column.astype(np.float32), row.astype(np.float32), weight.astype(np.float32))
