"""From image features to voxels, on the host.

Devices without a matrix inverse exist, and the same formula on two devices puts some points into different voxels; the
host does it once for all of them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from portbev_bevdepth.config import BevDepthConfig
from portbev_nuscenes.batches import Matrices


class Geometry:
    """Frustum and voxel grid of a configuration.

    Quirks of the original, kept under ``quirks: official``:

    * Everything is float32, in the original's order of operations: about one point in 10^5 lies so near a cell's edge
      that rounding decides, and one such point moves MatrixVT's features by a percent. ``fixed`` computes in float64.
    * A voxel index is truncated towards zero, not floored: what lies up to one cell outside the lower edges falls into
      cell 0. ``fixed`` floors.
    * The frustum's pixels reach from 0 to width - 1 inclusive in equal steps and are not the centres of the feature
      pixels; its depths are the lower edges of the bins. Weights learn this, so ``fixed`` leaves it.
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

    def points(self, mats: Matrices, sweep: int) -> Tensor:
        """Frustum points (B,N,D,H,W,3) of a sweep in the (augmented) key ego frame, metres, on the host.

        ``mats`` are affine: their last rows are (0,0,0,1).
        """
        pose, intrin, ida = (
            mats[name][:, sweep].detach().cpu().to(self.dtype) for name in ("sensor2ego", "intrin", "ida")
        )
        pixel = [axis.to(self.dtype) for axis in (self._x, self._y, self._z)]
        x, y, z = _transform(_inverse(ida), pixel)
        point = _transform(_product(pose, _inverse(intrin)), [x * z, y * z, z])
        if mats.get("bda") is not None:
            point = _transform(mats["bda"].detach().cpu().to(self.dtype)[:, None], point)
        return torch.stack(point, dim=-1)

    def cells(self, points: Tensor) -> Tensor:
        """Points in units of voxels from the grid's lower corner."""
        size = self.voxel_size.to(self.dtype)
        return (points - (self.voxel_coord.to(self.dtype) - size / 2)) / size

    def whole(self, cells: Tensor) -> Tensor:
        """Indices of cells, int32."""
        return (cells.trunc() if self.truncate else cells.floor()).clamp(-(2.0**30), 2.0**30).int()

    def voxels(self, mats: Matrices, sweep: int) -> Tensor:
        """Voxel indices (B,N,D,H,W,3) int32 [ix,iy,iz] of a sweep, on the host; outside the grid they are kept."""
        return self.whole(self.cells(self.points(mats, sweep)))


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


def _transform(matrix: Tensor, point: list[Tensor]) -> list[Tensor]:
    """Affine (B,N,4,4) times three coordinates that broadcast to (B,N,D,H,W); summed left to right."""
    entries = matrix[..., None, None, None]
    return [
        entries[:, :, row, 0] * point[0]
        + entries[:, :, row, 1] * point[1]
        + entries[:, :, row, 2] * point[2]
        + entries[:, :, row, 3]
        for row in range(3)
    ]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product (...,4,4), summed left to right on every machine."""
    terms = a[..., :, :, None] * b[..., None, :, :]
    return terms[..., 0, :] + terms[..., 1, :] + terms[..., 2, :] + terms[..., 3, :]


def _inverse(matrices: Tensor) -> Tensor:
    """Inverses (...,4,4) by LAPACK's getrf and getri, as the original's torch computed them."""
    factor, solve = (
        (lapack.sgetrf, lapack.sgetri) if matrices.dtype == torch.float32 else (lapack.dgetrf, lapack.dgetri)
    )
    given = matrices.numpy()
    inverses = np.empty_like(given)
    for index in np.ndindex(given.shape[:-2]):
        factors, pivots, _ = factor(given[index])
        inverses[index], _ = solve(factors, pivots)
    return torch.from_numpy(inverses)
