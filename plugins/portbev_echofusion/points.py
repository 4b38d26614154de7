"""A map of range and azimuth from the radar's point cloud."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from portbev.nn.sync_batchnorm import joins_processes, norm_of_rows
from portbev_echofusion.config import EchoFusionConfig

FEATURES = 8
"""Features of a point: range, Doppler and azimuth as fractions of their maximum; elevation in radians; offsets of range
and azimuth from the cell's centre, in cells; offsets of Doppler and elevation from the mean of the cell's points."""


class Pillars(nn.Module):
    """Two linear layers with batch normalisation and ReLU for each point, and the maximum of each feature in a cell.

    As in mmdet3d's DynamicVFE, the second layer's input includes the maximum of the first layer over the cell. Without
    points the map is zero and the layers stay in the graph. A single point of a batch in training is left out, since it
    has no statistics, unless they are those of several processes.
    """

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        self.section, self.polar = config.radar.points, config.polar
        self.samples, self.chirps = config.radar.samples, config.radar.chirps
        width = self.section.channels
        self.linears = nn.ModuleList([nn.Linear(FEATURES, width, bias=False), nn.Linear(2 * width, width, bias=False)])
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=1e-3, momentum=0.01) for _ in range(2))

    def forward(self, clouds: Sequence[Tensor]) -> Tensor:
        """B point clouds to a map (B,channels,S,azimuths).

        Clouds are (n,4) on the host: range in metres, Doppler bin, azimuth and elevation in radians.
        """
        device = next(self.parameters()).device
        columns = self.section.azimuths
        cells, features = [], []
        for sample, cloud in enumerate(clouds):
            cell, feature = self._point_features(cloud.numpy().astype(np.float64))
            cells.append(cell + sample * self.samples * columns)
            features.append(feature)
        cell, feature = np.concatenate(cells), np.concatenate(features)
        size = len(clouds) * self.samples * columns
        if len(cell) == 1 and self.training and not joins_processes(self.norms[0]):
            cell, feature = cell[:0], feature[:0]
        occupied, cell_of_point, points_of_cell = group_by_cell(cell)
        feature = _with_mean_offsets(feature, cell_of_point, points_of_cell)
        x = torch.from_numpy(feature.astype(np.float32)).to(device)
        cell_index, point_index = (torch.from_numpy(a).to(device) for a in (cell_of_point, points_of_cell))
        first = self._layer(0, x)
        maximum = first.index_select(0, point_index.flatten()).unflatten(0, point_index.shape).amax(1)
        second = self._layer(1, torch.cat([first, maximum.index_select(0, cell_index)], 1))
        pillars = second.index_select(0, point_index.flatten()).unflatten(0, point_index.shape).amax(1)
        canvas = torch.zeros(size, self.section.channels, device=device, dtype=pillars.dtype)
        canvas = canvas.index_copy(0, torch.from_numpy(occupied).to(device), pillars)
        return canvas.view(len(clouds), self.samples, columns, -1).permute(0, 3, 1, 2)

    def _layer(self, index: int, x: Tensor) -> Tensor:
        norm = self.norms[index]
        assert isinstance(norm, _BatchNorm)
        return norm_of_rows(norm, self.linears[index](x)).relu()

    def _point_features(self, cloud: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The flat cell index of each point on the map, and the point's first six features."""
        low, high = (math.radians(side) for side in self.section.azimuth_range)
        row = cloud[:, 0] / self.polar.range_max * self.samples
        column = (cloud[:, 2] - low) / (high - low) * self.section.azimuths
        # Ranges are whole bins up to rounding: 1e-6 keeps those that were rounded down in their own bin.
        indices = np.floor(np.stack([row + 1e-6, column], 1)).astype(np.int64)
        inside = ((indices >= 0) & (indices < (self.samples, self.section.azimuths))).all(1)
        fractions = np.stack([row / self.samples, cloud[:, 1] / self.chirps, cloud[:, 2] / high, cloud[:, 3]], 1)
        center_offsets = np.stack([row, column], 1) - indices - 0.5
        cell = indices[:, 0] * self.section.azimuths + indices[:, 1]
        return cell[inside], np.concatenate([fractions, center_offsets], 1)[inside]


def group_by_cell(cell: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Group points by their cell.

    Args:
        cell: (n,) cell of each point.

    Returns:
        The k occupied cells (k,), ascending; for each point the index of its cell among them (n,); and for each of them
        the indices of its points (k, most), padded with the first point. Without points (0,), (0,) and (0, 1).
    """
    occupied, cell_of_point, count = np.unique(cell, return_inverse=True, return_counts=True)
    cell_of_point = cell_of_point.reshape(-1)
    order = np.argsort(cell_of_point, kind="stable")
    first = np.concatenate([[0], count.cumsum()[:-1]])
    slot = np.arange(count.max(initial=1))
    points_of_cell = order[first[:, None] + np.where(slot < count[:, None], slot, 0)]
    return occupied, cell_of_point, points_of_cell


def _with_mean_offsets(
    feature: NDArray[np.float64], cell_of_point: NDArray[np.int64], points_of_cell: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The features, and two more: Doppler and elevation relative to the mean of the cell's points."""
    total = np.zeros((len(points_of_cell), 2))
    np.add.at(total, cell_of_point, feature[:, [1, 3]])
    mean = total / np.bincount(cell_of_point, minlength=len(points_of_cell))[:, None]
    return np.concatenate([feature, feature[:, [1, 3]] - mean[cell_of_point]], 1)
