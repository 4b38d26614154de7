"""Projection of the cells of the polar bird's-eye view into the camera.

Rows are ranges, columns are azimuths. The calibration's world frame is X right, Y forward, Z up, in metres.
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
OFFICIAL_RAY_LENGTH = 128
"""Length in metres of the original's image rays. By mistake it is their number of cells."""


@dataclass(frozen=True)
class PolarGrid:
    """Cell centres of a level: ``azimuth`` (Az,) in radians from straight ahead to the right, ``radius`` (R,) and
    ``height`` (Z,) in metres.
    """

    azimuth: Array
    radius: Array
    height: Array

    def points(self) -> Array:
        """(Z,R,Az,3) cell centres in the world frame."""
        z, y, x = np.meshgrid(self.height, self.radius, self.azimuth, indexing="ij")
        return np.stack([np.sin(x) * y, np.cos(x) * y, z], -1)


@dataclass(frozen=True)
class RaySampling:
    """Where each cell samples the image rays of a level (R rows, W columns); float32.

    Attributes:
        column: (Z,R,Az) column of the rays at each height.
        row: (R,Az) row of the rays.
        weight: (Z,R,Az) weight of each height in the mean, 0 where the cell is not visible.
    """

    column: NDArray[np.float32]
    row: NDArray[np.float32]
    weight: NDArray[np.float32]

    @property
    def visible(self) -> NDArray[np.bool_]:
        """(R,Az) which cells are visible."""
        return np.asarray((self.weight > 0).any(0))


def polar_grid(config: EchoFusionConfig, level: int) -> PolarGrid:
    """The cell centres of a level (0 is the finest)."""
    polar, scale = config.polar, 2**level
    span, (bottom, top) = math.radians(polar.angle), polar.z_range
    columns, rows = polar.azimuths // scale, config.rows // scale
    official = config.quirks.grid == "official"
    angle_step, range_step = scale * span / polar.azimuths, scale * polar.range_max / config.rows
    height_step = scale * (top - bottom) / polar.heights
    angle_first, range_first, height_first = angle_step / 2, range_step / 2, height_step / 2
    if official:  # half a cell of level 0 on all levels; for azimuths half of 1 / columns, which is not half a cell
        angle_first, range_first = 1 / (2 * polar.azimuths), range_first / scale
        height_first /= scale
    azimuth = np.arange(columns) * angle_step - span / 2 + angle_first
    return PolarGrid(
        azimuth=azimuth if config.mirror == "official" else -azimuth,
        radius=np.arange(rows) * range_step + range_first,
        height=np.arange(math.ceil(polar.heights / scale)) * height_step + bottom + height_first,
    )


def ray_sampling(
    config: EchoFusionConfig, level: int, calibration: Calibration, size: tuple[int, int], width: int
) -> RaySampling:
    """Where the cells of ``level`` sample its image rays.

    Args:
        calibration: of one camera: K (3,3) for the network's input, dist (5,), rvec (3,), tvec (3,).
        size: (height, width) of the network's input without padding.
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
        row = (np.clip(2 * distance / OFFICIAL_RAY_LENGTH - 1, -1, 1) + 1) / 2 * (rows - 1)
    else:
        column = np.clip(u / stride, 0, width - 1)
        row = np.clip(distance / config.polar.range_max * rows - 0.5, 0, rows - 1)
    if quirks.visibility == "official":
        inside = (column > 0) & (column < width - 1) & (row > 0) & (row < rows - 1)
        weight = np.broadcast_to(inside.all(0) / len(column), column.shape)
    else:
        depth = points @ rotation[2] + calibration["tvec"][2]
        inside = (depth > 0) & (u >= 0) & (u < size[1]) & (v >= 0) & (v < size[0])
        weight = inside / np.maximum(inside.sum(0), 1)
    return RaySampling(column.astype(np.float32), row.astype(np.float32), weight.astype(np.float32))
