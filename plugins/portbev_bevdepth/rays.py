"""MatrixVT's ring and ray matrices, computed on the host (Zhou et al., ICCV 2023)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev_bevdepth.geometry import Geometry
from portbev_nuscenes.batches import Matrices


def ring_and_ray(geometry: Geometry, mats: Matrices, index: int) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """The ring matrix (B,D,Y*X) and the ray matrix (B,N*W,Y*X).

    The ring matrix says which depth bins have points in cell y*X+x, and the ray matrix which image columns do. The
    points of the frustum are averaged over the image height first, and their height above ground is ignored.

    Quirks of the original, kept under ``quirks: official``:

    * A point outside the grid is assigned to the cell in the middle, (64,64) of 128, which is cleared afterwards
      together with the points that do lie in it. Indices are truncated, so that points up to one cell outside the lower
      edges count as inside.
    * Several points in one entry do not add up, so that both matrices hold only 0 and 1 and the division by the largest
      entry of a column that follows changes nothing.

    ``fixed`` floors, ignores points outside the grid, keeps the middle cell, and counts points: each entry is a count
    divided by the largest count of its cell.
    """
    coordinates = geometry.grid_coordinates(geometry.frustum_points(mats, index)).mean(dim=3)  # (B,N,D,W,3)
    indices = geometry.cell_indices(coordinates.transpose(2, 3)).numpy()  # (B,N,W,D,3)
    batch, cameras, width, bins, _ = indices.shape
    x_cells, y_cells, _ = geometry.size
    x, y = indices[..., 0].reshape(batch, -1, bins), indices[..., 1].reshape(batch, -1, bins)
    inside = (x >= 0) & (x < x_cells) & (y >= 0) & (y < y_cells)
    sample, column, depth = np.nonzero(inside)
    cell = np.where(inside, y * x_cells + x, 0)[inside]
    count = not geometry.truncate
    ring = _scatter((batch, bins, y_cells * x_cells), (sample, depth, cell), count)
    ray = _scatter((batch, cameras * width, y_cells * x_cells), (sample, column, cell), count)
    if geometry.truncate:
        middle = (y_cells // 2) * x_cells + x_cells // 2
        ring[..., middle] = 0
        ray[..., middle] = 0
    return ring, ray


def _scatter(shape: tuple[int, int, int], index: tuple[NDArray[np.int64], ...], count: bool) -> NDArray[np.generic]:
    """A matrix of 1 at ``index`` and 0 elsewhere (uint8), or with ``count`` of shares of each column's maximum."""
    if not count:
        mask = np.zeros(shape, np.uint8)
        mask[index] = 1
        return mask
    counts = np.zeros(shape, np.float32)
    np.add.at(counts, index, 1)
    return counts / np.maximum(counts.max(axis=1, keepdims=True), 1)
