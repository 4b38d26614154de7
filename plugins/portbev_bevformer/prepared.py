"""What follows from a batch's calibration and motion alone: computed by the loader's workers, not within a step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev_bevformer import history
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.projection import VisiblePairs, pillar_points, project, visible_pairs
from portbev_nuscenes.batches import QueueBatch


class FrameGeometry(NamedTuple):
    """One frame of a batch of B samples. What it says about the previous frame counts where there is one.

    Attributes:
        counts, query, reference, weight: those of :class:`portbev_bevformer.projection.VisiblePairs`.
        turn: (B,Q) int64 cell of the previous BEV that each cell shows, -1 where it shows none.
        shift: (B,2) float32 movement (x, y) since the previous frame in units of the map's width and height.
        can_bus: (B,18) float32.
        continues: (B,) bool, whether the frame continues the one before it.
    """

    counts: tuple[int, ...]
    query: Tensor
    reference: Tensor
    weight: Tensor
    turn: Tensor
    shift: Tensor
    can_bus: Tensor
    continues: Tensor


class Prepared(NamedTuple):
    """T frames; their tensors stand together, so that few copies take them to the device.

    Attributes:
        counts: for each frame those of its images, on the host.
        query, reference: of the frames one after the other, (R,) and (R,D,2).
        weight, turn, shift, can_bus, continues: with the frames as their first axis.
    """

    counts: tuple[tuple[int, ...], ...]
    query: Tensor
    reference: Tensor
    weight: Tensor
    turn: Tensor
    shift: Tensor
    can_bus: Tensor
    continues: Tensor

    def frame(self, index: int) -> FrameGeometry:
        """Frame number ``index``; negative numbers count from the end."""
        index %= len(self.counts)
        first = sum(sum(counts) for counts in self.counts[:index])
        pairs = slice(first, first + sum(self.counts[index]))
        rest = (self.weight, self.turn, self.shift, self.can_bus, self.continues)
        return FrameGeometry(
            self.counts[index], self.query[pairs], self.reference[pairs], *(values[index] for values in rest)
        )


class Preparation:
    """Computes :class:`Prepared` of a batch, on the host. Sent to worker processes, so it holds no weights."""

    def __init__(self, config: BevFormerConfig) -> None:
        self.config = config
        self.points = pillar_points(config.bev_size, config.encoder.anchors, config.point_cloud_range)

    def __call__(self, queue: QueueBatch) -> Prepared:
        can_bus, continues = np.asarray(queue["can_bus"]), np.asarray(queue["continues"])
        frames = range(can_bus.shape[1])
        pairs = [self.pairs(queue, frame) for frame in frames]
        shifts = [history.shift(can_bus[:, frame], self.config.cell, self.config.bev_size) for frame in frames]
        return Prepared(
            counts=tuple(one.counts for one in pairs),
            query=torch.from_numpy(np.concatenate([one.query for one in pairs])),
            reference=torch.from_numpy(np.concatenate([one.reference for one in pairs])),
            weight=torch.from_numpy(np.stack([one.weight for one in pairs])),
            turn=torch.from_numpy(np.stack([self.turn(can_bus[:, frame, 17]) for frame in frames])),
            shift=torch.from_numpy(np.stack(shifts).astype(np.float32)),
            can_bus=torch.from_numpy(np.ascontiguousarray(can_bus.swapaxes(0, 1), np.float32)),
            continues=torch.from_numpy(np.ascontiguousarray(continues.T)),
        )

    def pairs(self, queue: QueueBatch, frame: int) -> VisiblePairs:
        """The (camera, query) pairs of a frame in which the camera sees the query's pillar."""
        padded = (int(queue["images"].shape[-2]), int(queue["images"].shape[-1]))
        size = padded if self.config.quirks.image_size == "official" else queue["image_size"]
        positions, visible = project(self.points, queue["lidar2img"][:, frame], size)
        official = self.config.quirks.visibility_lists == "official"
        return visible_pairs(positions, visible, pairs_of_first_sample=official)

    def turn(self, degrees: NDArray[np.float64]) -> NDArray[np.int64]:
        """(B,Q) cells of the previous BEV, which is turned by each sample's change of heading (B,)."""
        rows, columns = self.config.bev_size
        official = self.config.quirks.rotation_center == "official"
        center = history.OFFICIAL_CENTER if official else (columns / 2, rows / 2)
        return np.stack([history.rotation_source((rows, columns), float(angle), center) for angle in degrees])
