"""What follows from a batch's calibration and boxes alone: computed by the loader's workers, not within a step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.geometry import Geometry, SweepGeometry, camera_vector
from portbev_bevdepth.rays import ring_and_ray
from portbev_bevdepth.targets import TaskTarget, box_targets
from portbev_nuscenes.batches import SweepBatch


class Prepared(NamedTuple):
    """Of a batch: each sweep's geometry, the key frame's first, and in training the targets of each task."""

    sweeps: list[SweepGeometry]
    targets: list[TaskTarget]


class Preparation:
    """Computes :class:`Prepared` of a batch, on the host. Sent to worker processes, so it holds no weights."""

    def __init__(self, config: BevDepthConfig, geometry: Geometry, *, training: bool) -> None:
        self.config, self.geometry, self.training = config, geometry, training

    def __call__(self, batch: SweepBatch) -> Prepared:
        sweeps = [self.sweep(batch, index) for index in range(batch["images"].shape[1])]
        targets = box_targets(self.config, batch["boxes"], batch["labels"]) if self.training else []
        return Prepared(sweeps, targets)

    def sweep(self, batch: SweepBatch, index: int) -> SweepGeometry:
        """The geometry of one sweep. Officially its camera is the key frame's."""
        mats = batch["mats"]
        camera = camera_vector(mats, 0 if self.config.quirks == "official" else index)
        return SweepGeometry(camera, self._places(batch, index))

    def _places(self, batch: SweepBatch, index: int) -> tuple[Tensor, ...]:
        if self.config.variant != "matrixvt":
            return (self.geometry.voxel_indices(batch["mats"], index),)
        ring, ray = ring_and_ray(self.geometry, batch["mats"], index)
        return torch.from_numpy(ring), torch.from_numpy(ray)
