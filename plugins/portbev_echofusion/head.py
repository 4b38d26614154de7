"""The head: class and box branches of the decoder's layers, and the conversion between boxes and box codes.

A box code is [x, y, log dx, log dy, z, log dz, sin, cos] in the radar frame: centre and sizes in metres. sin and cos
are of the heading relative to the direction to the box, which the original computes as atan2(x, y) and not as the
azimuth atan2(y, x). For boxes see ``portbev.boxes``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from portbev.boxes import wrap_angle
from portbev.nn.detr_decoder import Branches
from portbev_echofusion.config import EchoFusionConfig

Floats = NDArray[np.float32]
CODE_SIZE = 8


class Head(Branches):
    """Branches whose refined centres are polar (azimuth, range, height); box codes hold the centre in metres."""

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__(config.channels, config.decoder.layers, 1, config.loss.code_weights)
        polar = config.polar
        self.angle, self.range_max, self.z_range = math.radians(polar.angle), polar.range_max, polar.z_range

    def code(self, regression: Tensor, center: Tensor) -> Tensor:
        azimuth, distance, height = center.unbind(-1)
        azimuth, distance = azimuth * self.angle - self.angle / 2, distance * self.range_max
        low, high = self.z_range
        xy = torch.stack([distance * azimuth.cos(), distance * azimuth.sin()], -1)
        z = (height * (high - low) + low)[..., None]
        return torch.cat([xy, regression[..., 2:4], z, regression[..., 5:]], -1)


def _direction(x: Floats, y: Floats, official: bool) -> Floats:
    """The direction in radians that headings are relative to."""
    return np.arctan2(x, y) if official else np.arctan2(y, x)


def encode(boxes: ArrayLike, *, official: bool) -> Floats:
    """Boxes (n, 9) to codes (n, 8). Codes of boxes with a size that is not positive are not finite."""
    x, y, z, dx, dy, dz, yaw, _, _ = np.asarray(boxes, np.float32).reshape(-1, 9).T
    heading = yaw - _direction(x, y, official)
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = [np.log(size) for size in (dx, dy, dz)]
    return np.stack([x, y, *sizes[:2], z, sizes[2], np.sin(heading), np.cos(heading)], -1)


def decode(codes: ArrayLike, *, official: bool) -> Floats:
    """Codes (n, 8) to boxes (n, 9); the velocity is 0. Sizes beyond float32 become inf or 0."""
    x, y, dx, dy, z, dz, sin, cos = np.asarray(codes, np.float32).reshape(-1, CODE_SIZE).T
    velocity = np.zeros_like(x)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        yaw = wrap_angle(_direction(x, y, official) + np.arctan2(sin, cos)).astype(np.float32)
        return np.stack([x, y, z, np.exp(dx), np.exp(dy), np.exp(dz), yaw, velocity, velocity], -1)
