"""From image features to voxels, on the host in float64. May import: numpy, torch, config.

Devices without a matrix inverse exist, and float32 on two devices puts some points into different voxels; the host
does it once for all of them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.models import Matrices
from portbev_bevdepth.config import BevDepthConfig

Float64 = NDArray[np.float64]


class Geometry:
    """Frustum and voxel grid of a configuration.

    Quirks of the original, kept under ``quirks: official``:

    * A voxel index is truncated towards zero, not floored: what lies up to one cell outside the lower edges falls into
      cell 0. ``fixed`` floors.
    * The frustum's pixels reach from 0 to width - 1 inclusive in equal steps and are not the centres of the feature
      pixels; its depths are the lower edges of the bins. Weights learn this, so ``fixed`` leaves it.
    """

    def __init__(self, config: BevDepthConfig) -> None:
        bounds = np.array([config.x_bound, config.y_bound, config.z_bound])
        self.size = config.grid_size
        self.voxel_size: Float64 = bounds[:, 2].copy()
        self.lower: Float64 = bounds[:, 0].copy()
        self.truncate = config.quirks == "official"
        self._config = config

    @cached_property
    def frustum(self) -> Float64:
        """(D,H,W,4): x and y in pixels of the network's input, depth in metres, 1."""
        height, width = self._config.final_size
        rows, columns = self._config.feature_size
        low, _, step = self._config.d_bound
        depth = low + step * np.arange(self._config.depth_bins)
        z, y, x = np.meshgrid(depth, np.linspace(0, height - 1, rows), np.linspace(0, width - 1, columns), indexing="ij")
        return np.stack([x, y, z, np.ones_like(x)], axis=-1)

    def points(self, mats: Matrices, sweep: int) -> Float64:
        """Frustum points (B,N,D,H,W,3) of a sweep in the (augmented) key ego frame, metres."""
        inverse_ida = np.linalg.inv(_numpy(mats["ida"][:, sweep]))
        to_ego = _numpy(mats["sensor2ego"][:, sweep]) @ np.linalg.inv(_numpy(mats["intrin"][:, sweep]))
        if mats.get("bda") is not None:
            to_ego = _numpy(mats["bda"])[:, None] @ to_ego
        shape = self.frustum.shape[:3]
        flat = self.frustum.reshape(-1, 4).T
        q = inverse_ida @ flat
        q[..., :2, :] *= q[..., 2:3, :]
        ego = (to_ego @ q)[..., :3, :]
        return np.ascontiguousarray(np.swapaxes(ego, -1, -2)).reshape(*ego.shape[:2], *shape, 3)

    def cells(self, points: Float64) -> Float64:
        """Points in units of voxels from the grid's lower corner."""
        return (points - self.lower) / self.voxel_size

    def voxels(self, mats: Matrices, sweep: int) -> Tensor:
        """Voxel indices (B,N,D,H,W,3) int32 [ix,iy,iz] of a sweep, on the host; outside the grid they are kept."""
        cells = self.cells(self.points(mats, sweep))
        whole = np.trunc(cells) if self.truncate else np.floor(cells)
        return torch.from_numpy(np.clip(whole, -(2**30), 2**30).astype(np.int32))


def camera_vector(mats: Matrices, sweep: int) -> Tensor:
    """What DepthNet is told about each camera: (B*N, 27) float32, on the host.

    fx fy cx cy; rows (0,1) and columns (0,1,3) of ida; bda's 2x2 and its z scale; the 3x4 of sensor2ego.
    """
    intrin, ida, pose = mats["intrin"][:, sweep], mats["ida"][:, sweep], mats["sensor2ego"][:, sweep]
    batch, cameras = intrin.shape[:2]
    bda = mats["bda"][:, None].expand(batch, cameras, 4, 4)
    columns = [
        intrin[..., 0, 0], intrin[..., 1, 1], intrin[..., 0, 2], intrin[..., 1, 2],
        ida[..., 0, 0], ida[..., 0, 1], ida[..., 0, 3], ida[..., 1, 0], ida[..., 1, 1], ida[..., 1, 3],
        bda[..., 0, 0], bda[..., 0, 1], bda[..., 1, 0], bda[..., 1, 1], bda[..., 2, 2],
    ]  # fmt: skip
    vector = torch.cat([torch.stack(columns, dim=-1), pose[..., :3, :].flatten(-2)], dim=-1)
    return vector.reshape(batch * cameras, -1).float()


def _numpy(matrices: Tensor) -> Float64:
    return matrices.detach().cpu().numpy().astype(np.float64)
