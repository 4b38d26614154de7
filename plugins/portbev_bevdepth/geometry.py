"""Voxel indices of the frustum points of each camera, computed on the host.

The same formula puts some points into different voxels on different devices, and some devices have no matrix inverse.
The host's result is the same for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from portbev_bevdepth.config import BevDepthConfig
from portbev_nuscenes.batches import Matrices


class SweepGeometry(NamedTuple):
    """Where the pixels of a sweep of B samples with N cameras lie.

    Attributes:
        camera: what DepthNet is told of each camera, see :func:`camera_vector`.
        places: what :meth:`portbev_bevdepth.lss.LSSFPN.to_bev` takes: the voxel indices of the frustum points; for
            MatrixVT the ring and the ray matrix.
    """

    camera: Tensor
    places: tuple[Tensor, ...]


class Geometry:
    """Frustum and voxel grid of a configuration.

    Quirks of the original, kept under ``quirks: official``:

    * Everything is float32, in the original's order of operations. About one point in 10^5 lies so near a cell's edge
      that rounding decides its cell, and one such point changes MatrixVT's features by a percent. ``fixed`` computes in
      float64.
    * A voxel index is truncated towards zero, not floored, so that points up to one cell outside the lower edges fall
      into cell 0. ``fixed`` floors.
    * The frustum's pixels reach from 0 to width - 1 inclusive in equal steps and are not the centres of the feature
      pixels; its depths are the lower edges of the bins. Weights adapt to this, so ``fixed`` does not change it.
    """

    def __init__(self, config: BevDepthConfig) -> None:
        official = config.quirks == "official"
        self.dtype = torch.float32 if official else torch.float64
        self.truncate = official
        self.size = config.grid_size
        bounds = torch.tensor([config.x_bound, config.y_bound, config.z_bound], dtype=torch.float64)
        self.voxel_size = bounds[:, 2].float()
        self.voxel_coord = (bounds[:, 0] + bounds[:, 2] / 2).float()
        height, width = config.final_size
        rows, columns = config.feature_size
        low, _, step = config.d_bound
        self._x = torch.linspace(0, width - 1, columns)
        self._y = torch.linspace(0, height - 1, rows)[:, None]
        self._z = (low + step * torch.arange(config.depth_bins, dtype=torch.float64)).float()[:, None, None]

    @property
    def frustum(self) -> Tensor:
        """(D,H,W,4) float32: x and y in pixels of the network's input, depth in metres, 1."""
        x, y, z = torch.broadcast_tensors(self._x, self._y, self._z)
        return torch.stack([x, y, z, torch.ones_like(x)], dim=-1)

    def frustum_points(self, mats: Matrices, sweep: int) -> Tensor:
        """Frustum points (B,N,D,H,W,3) of a sweep in the (augmented) ego frame of the key frame, metres, on the host.

        The matrices must be affine: their last rows are (0,0,0,1).
        """
        pose, intrin, ida = (
            mats[name][:, sweep].detach().cpu().to(self.dtype) for name in ("sensor2ego", "intrin", "ida")
        )
        pixels = [axis.to(self.dtype) for axis in (self._x, self._y, self._z)]
        x, y, z = _transform(_inverse(ida), pixels)
        points = _transform(_product(pose, _inverse(intrin)), [x * z, y * z, z])
        if mats.get("bda") is not None:
            points = _transform(mats["bda"].detach().cpu().to(self.dtype)[:, None], points)
        return torch.stack(points, dim=-1)

    def grid_coordinates(self, points: Tensor) -> Tensor:
        """Points (...,3) in units of voxels from the grid's lower corner."""
        size = self.voxel_size.to(self.dtype)
        return (points - (self.voxel_coord.to(self.dtype) - size / 2)) / size

    def cell_indices(self, coordinates: Tensor) -> Tensor:
        """Indices (...,3) int32 of the cells in which grid coordinates (...,3) lie."""
        return (coordinates.trunc() if self.truncate else coordinates.floor()).clamp(-(2.0**30), 2.0**30).int()

    def voxel_indices(self, mats: Matrices, sweep: int) -> Tensor:
        """Voxel indices (B,N,D,H,W,3) int32 [ix,iy,iz] of a sweep's frustum, on the host; some lie outside the grid."""
        return self.cell_indices(self.grid_coordinates(self.frustum_points(mats, sweep)))


def camera_vector(mats: Matrices, sweep: int) -> Tensor:
    """The camera parameters that DepthNet takes: (B*N, 27) float32, on the host.

    They are fx fy cx cy; rows 0 and 1 of ida in columns 0, 1 and 3; bda's upper left 2x2 and its z scale; and the first
    three rows of sensor2ego.
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


def _transform(matrix: Tensor, points: list[Tensor]) -> list[Tensor]:
    """Affine matrices (B,N,4,4) times points, given as x, y and z that broadcast to (B,N,D,H,W).

    The terms are added from left to right on every machine.
    """
    entries = matrix[..., None, None, None]
    return [
        entries[:, :, row, 0] * points[0]
        + entries[:, :, row, 1] * points[1]
        + entries[:, :, row, 2] * points[2]
        + entries[:, :, row, 3]
        for row in range(3)
    ]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products (...,4,4); the terms are added from left to right on every machine."""
    terms = a[..., :, :, None] * b[..., None, :, :]
    return terms[..., 0, :] + terms[..., 1, :] + terms[..., 2, :] + terms[..., 3, :]


def _inverse(matrices: Tensor) -> Tensor:
    """Inverses (...,4,4) by LAPACK's getrf and getri, as the original's torch computed them."""
    factor, solve = (
        (lapack.sgetrf, lapack.sgetri) if matrices.dtype == torch.float32 else (lapack.dgetrf, lapack.dgetri)
    )
    arrays = matrices.numpy()
    inverses = np.empty_like(arrays)
    for index in np.ndindex(arrays.shape[:-2]):
        factors, pivots, _ = factor(arrays[index])
        inverses[index], _ = solve(factors, pivots)
    return torch.from_numpy(inverses)
