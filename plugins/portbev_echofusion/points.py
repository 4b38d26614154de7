"""Points to a map of range and azimuth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from portbev_echofusion.config import EchoFusionConfig

FEATURES = 8
"""Of a point: range, Doppler, azimuth and elevation as shares, offsets to the middle of its cell and of its points."""


class Pillars(nn.Module):
    """Two linear layers with batch normalisation and ReLU per point, and the largest of each feature per cell.

    After mmdet3d's DynamicVFE: the second layer sees the first one's maximum over the cell too.
    """

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        self.section, self.polar = config.radar.points, config.polar
        self.samples, self.chirps = config.radar.samples, config.radar.chirps
        width = self.section.channels
        self.linears = nn.ModuleList([nn.Linear(FEATURES, width, bias=False), nn.Linear(2 * width, width, bias=False)])
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=1e-3, momentum=0.01) for _ in range(2))

    def forward(self, clouds: Sequence[Tensor]) -> Tensor:
        """B clouds (n,4) on the host, [range m, Doppler bin, azimuth and elevation rad], to (B,channels,S,azimuths)."""
        device = next(self.parameters()).device
        columns = self.section.azimuths
        cells, features = [], []
        for sample, cloud in enumerate(clouds):
            cell, feature = self._describe(cloud.numpy().astype(np.float64))
            cells.append(cell + sample * self.samples * columns)
            features.append(feature)
        cell, feature = np.concatenate(cells), np.concatenate(features)
        size = len(clouds) * self.samples * columns
        canvas = torch.zeros(size, self.section.channels, device=device)
        if len(cell) > 1:  # fewer have no batch statistics
            occupied, owner, members = group(cell)
            x = torch.from_numpy(_offsets(feature, owner, members).astype(np.float32)).to(device)
            of_point, of_cell = torch.from_numpy(owner).to(device), torch.from_numpy(members).to(device)
            first = self._layer(0, x)
            spread = first.index_select(0, of_cell.flatten()).unflatten(0, of_cell.shape).amax(1)
            second = self._layer(1, torch.cat([first, spread.index_select(0, of_point)], 1))
            largest = second.index_select(0, of_cell.flatten()).unflatten(0, of_cell.shape).amax(1)
            canvas = canvas.to(largest.dtype).index_copy(0, torch.from_numpy(occupied).to(device), largest)
        return canvas.view(len(clouds), self.samples, columns, -1).permute(0, 3, 1, 2)

    def _layer(self, index: int, x: Tensor) -> Tensor:
        return self.norms[index](self.linears[index](x)).relu()

    def _describe(self, cloud: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Cell of each point in range, and its first six features."""
        low, high = (math.radians(side) for side in self.section.azimuth_range)
        row = cloud[:, 0] / self.polar.range_max * self.samples
        column = (cloud[:, 2] - low) / (high - low) * self.section.azimuths
        place = np.floor(np.stack([row + 1e-6, column], 1)).astype(np.int64)  # ranges are whole bins, rounded
        inside = ((place >= 0) & (place < (self.samples, self.section.azimuths))).all(1)
        shares = np.stack([row / self.samples, cloud[:, 1] / self.chirps, cloud[:, 2] / high, cloud[:, 3]], 1)
        middle = np.stack([row, column], 1) - place - 0.5
        cell = place[:, 0] * self.section.azimuths + place[:, 1]
        return cell[inside], np.concatenate([shares, middle], 1)[inside]


def group(cell: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Occupied cells (k,), which of them each point is in (n,), and the points of each, the first one repeated
    (k, most)."""
    occupied, owner, count = np.unique(cell, return_inverse=True, return_counts=True)
    owner = owner.reshape(-1)
    order = np.argsort(owner, kind="stable")
    first = np.concatenate([[0], count.cumsum()[:-1]])
    slot = np.arange(count.max())
    members = order[first[:, None] + np.where(slot < count[:, None], slot, 0)]
    return occupied, owner, members


def _offsets(feature: NDArray[np.float64], owner: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.float64]:
    """The features with Doppler's and elevation's offset to the mean of the cell's points."""
    total = np.zeros((len(members), 2))
    np.add.at(total, owner, feature[:, [1, 3]])
    mean = total / np.bincount(owner, minlength=len(members))[:, None]
    return np.concatenate([feature, feature[:, [1, 3]] - mean[owner]], 1)
