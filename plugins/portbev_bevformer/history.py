"""The BEV of the previous frame, and how it is aligned with the present one.

The vehicle's motion between the frames becomes a shift and a rotation of the bird's-eye view, computed on the host
(``PerceptionTransformer.get_bev_features`` of the original).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from portbev.errors import DataError

OFFICIAL_CENTER = (100.0, 100.0)
"""Rotation centre (x, y) in cells of the official configurations, whatever the size of their grid."""


GIVEN = "?"
"""Token of a frame whose BEV was given from outside: whichever frame comes next is the one that continues it."""


@dataclass
class Memory:
    """The BEV (1,Q,C) of the last frame and the frame's token; None and "" before the first frame."""

    bev: Tensor | None = None
    token: str = ""

    def recall(self, token: str, previous: str) -> Tensor | None:
        """The BEV of the frame ``previous``, which precedes the frame ``token``; None if ``token`` begins a scene.

        Raises:
            DataError: the preceding frame is not the last one.
        """
        if self.token == GIVEN:
            return self.bev
        if not previous:
            return None
        if self.bev is None or previous != self.token:
            last = f"the last one was {self.token}" if self.token else "none came before"
            raise DataError(
                f"frame {token} continues {previous}, but {last}",
                cure="Give the frames of a scene in order of time, in one process",
            )
        return self.bev


def shift(can_bus: ArrayLike, cell: tuple[float, float], size: tuple[int, int]) -> NDArray[np.float64]:
    """Movement of the vehicle since the previous frame, in units of the map's width and height.

    Args:
        can_bus: (B, 18). Entries 0 and 1 are the movement in metres along the global axes, entry 16 is the vehicle's
            yaw in radians.
        cell: size of a cell in metres (along y, along x).
        size: number of cells (rows, columns).

    Returns:
        (B, 2) as (x, y).
    """
    rows = np.asarray(can_bus, np.float64)
    length = np.hypot(rows[:, 0], rows[:, 1])
    course = np.degrees(np.arctan2(rows[:, 1], rows[:, 0]))
    angle = np.radians(np.degrees(rows[:, 16]) - course)
    return np.stack([length * np.sin(angle) / cell[1] / size[1], length * np.cos(angle) / cell[0] / size[0]], -1)


def rotation_source(size: tuple[int, int], degrees: float, center: tuple[float, float]) -> NDArray[np.int64]:
    """Source cell of each cell of a rotated map, as in torchvision's ``rotate`` (nearest neighbour, no expansion).

    Args:
        size: number of cells (rows, columns).
        degrees: counter-clockwise in a picture whose rows go down.
        center: rotation centre (x, y) in cells.

    Returns:
        (rows * columns,) flat index of the source cell, -1 where it lies outside the map.
    """
    rows, columns = size
    cx, cy = center[0] - columns / 2, center[1] - rows / 2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    u = (np.arange(columns) + 0.5 - columns / 2 - cx)[None, :]
    v = (np.arange(rows) + 0.5 - rows / 2 - cy)[:, None]
    column = np.rint(cos * u - sin * v + cx + columns / 2 - 0.5).astype(np.int64)
    row = np.rint(sin * u + cos * v + cy + rows / 2 - 0.5).astype(np.int64)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    return np.where(inside, row * columns + column, -1).reshape(-1)


def turned(bev: Tensor, turn: Tensor) -> Tensor:
    """The maps (B,Q,C) with each cell taken from its source cell ``turn`` (B,Q) int64, zero where that is -1."""
    inside = (turn >= 0).to(bev.dtype)
    source = turn.clamp(min=0)
    cells = [one.index_select(0, index) for one, index in zip(bev, source, strict=True)]
    return torch.stack(cells) * inside[..., None]
