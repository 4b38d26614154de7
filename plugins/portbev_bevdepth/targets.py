"""Training targets of the head, computed on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev_bevdepth.config import BevDepthConfig
from portbev_nuscenes.classes import DETECTION_CLASSES

CODE_SIZE = 10
Float32 = NDArray[np.float32]


class TaskTarget(NamedTuple):
    """Targets of one task for B samples.

    K is the largest number of objects in a sample.

    Attributes:
        heatmap: (B,classes,Y,X) float32.
        code: (B,K,10) float32 [dx dy z log(l w h) sin cos vx vy]; dx and dy are the centre's offset in its cell.
        cell: (B,K) int64 index y*X+x of the object's cell.
        mask: (B,K) float32, 1 where there is an object.
        peaks: number of cells of the heatmap that are 1: two centres in one cell are one peak.
        objects: number of objects.
    """

    heatmap: Tensor
    code: Tensor
    cell: Tensor
    mask: Tensor
    peaks: float
    objects: float


def box_targets(
    config: BevDepthConfig, boxes: Sequence[NDArray[np.float32]], labels: Sequence[NDArray[np.int64]]
) -> list[TaskTarget]:
    """Targets of every task.

    Args:
        boxes: for each sample (n,9) [x y z dx dy dz yaw vx vy], metres, augmented ego frame of the key frame,
            z = centre.
        labels: for each sample (n,) indices into DETECTION_CLASSES; boxes with other labels are ignored.

    Quirk, kept under ``quirks: official``: the index of the centre's cell is truncated, so that an object up to one
    cell outside the lower edges falls into cell 0. ``fixed`` floors.
    """
    return [_task_target(config, task, boxes, labels) for task in config.head.tasks]


def gaussian_radius(length: np.float32, width: np.float32, min_overlap: float) -> np.float32:
    """Radius in cells by which a centre can move so that the boxes still overlap by ``min_overlap``.

    Law and Deng, ECCV 2018. The roots of the quadratic equations are (-b + sqrt(..)) / 2, not / (2a), as in the code of
    CenterNet and its successors.
    """
    total, area, o = length + width, length * width, min_overlap
    r1 = (total + np.sqrt(total**2 - 4 * area * (1 - o) / (1 + o))) / 2
    r2 = (2 * total + np.sqrt(4 * total**2 - 16 * (1 - o) * area)) / 2
    r3 = (-2 * o * total + np.sqrt(4 * o**2 * total**2 + 16 * o * (1 - o) * area)) / 2
    return min(r1, r2, r3)


def draw_gaussian(heatmap: Float32, x: int, y: int, radius: int) -> None:
    """Take the maximum of ``heatmap`` (Y,X) and a Gaussian of height 1 at cell (x, y), in place."""
    steps = np.arange(-radius, radius + 1, dtype=np.float64)
    sigma = (2 * radius + 1) / 6
    gaussian = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * sigma**2))
    gaussian[gaussian < np.finfo(np.float64).eps * gaussian.max()] = 0
    height, width = heatmap.shape
    left, right = min(x, radius), min(width - x, radius + 1)
    top, bottom = min(y, radius), min(height - y, radius + 1)
    window = heatmap[y - top : y + bottom, x - left : x + right]
    clipped = gaussian[radius - top : radius + bottom, radius - left : radius + right].astype(np.float32)
    np.maximum(window, clipped, out=window)


def _task_target(
    config: BevDepthConfig,
    task: Sequence[str],
    boxes: Sequence[NDArray[np.float32]],
    labels: Sequence[NDArray[np.int64]],
) -> TaskTarget:
    x_cells, y_cells = config.bev_size
    heatmap = np.zeros((len(boxes), len(task), y_cells, x_cells), np.float32)
    objects = []
    for sample_boxes, sample_labels in zip(boxes, labels, strict=True):
        rows_of_class = [np.flatnonzero(sample_labels == DETECTION_CLASSES.index(name)) for name in task]
        rows = np.concatenate(rows_of_class)[: config.targets.max_objects]
        classes = np.repeat(np.arange(len(task)), [len(indices) for indices in rows_of_class])[: len(rows)]
        objects.append((np.asarray(sample_boxes, np.float32)[rows], classes))
    slots = max([len(classes) for _, classes in objects], default=0) or 1
    code = np.zeros((len(boxes), slots, CODE_SIZE), np.float32)
    index = np.zeros((len(boxes), slots), np.int64)
    mask = np.zeros((len(boxes), slots), np.float32)
    for sample, (task_boxes, classes) in enumerate(objects):
        for slot, (box, class_index) in enumerate(zip(task_boxes, classes, strict=True)):
            encoded = _encode_box(config, box)
            if encoded is None:
                continue
            x, y, radius, code[sample, slot] = encoded
            draw_gaussian(heatmap[sample, class_index], x, y, radius)
            index[sample, slot], mask[sample, slot] = y * x_cells + x, 1
    maps, codes, cells, masks = (torch.from_numpy(array) for array in (heatmap, code, index, mask))
    return TaskTarget(maps, codes, cells, masks, peaks=float((heatmap == 1).sum()), objects=float(mask.sum()))


def _encode_box(config: BevDepthConfig, box: Float32) -> tuple[int, int, int, Float32] | None:
    """Cell (x, y), Gaussian radius and code of a box, or None if it has no extent or its centre is off the grid."""
    if box[3] <= 0 or box[4] <= 0:
        return None
    # The original divides by voxels of 0.2 m, then by the 4 voxels of a BEV cell. Two float32 divisions give its edges.
    voxel = (np.float32(config.x_bound[2] / 4), np.float32(config.y_bound[2] / 4))
    stride = np.float32(4)
    x = (box[0] - np.float32(config.x_bound[0])) / voxel[0] / stride
    y = (box[1] - np.float32(config.y_bound[0])) / voxel[1] / stride
    to_whole = np.trunc if config.quirks == "official" else np.floor
    column, row = int(to_whole(x)), int(to_whole(y))
    if not (0 <= column < config.bev_size[0] and 0 <= row < config.bev_size[1]):
        return None
    exact_radius = gaussian_radius(box[4] / voxel[1] / stride, box[3] / voxel[0] / stride, config.targets.min_overlap)
    radius = max(config.targets.min_radius, int(exact_radius))
    offset = (x - np.float32(column), y - np.float32(row))
    code = [*offset, box[2], *np.log(box[3:6]), np.sin(box[6]), np.cos(box[6]), *box[7:9]]
    return column, row, radius, np.array(code, np.float32)


def depth_bins(config: BevDepthConfig, depth: Tensor) -> Tensor:
    """Depth label of every feature pixel: (B*N,h,w) int64, 0 = no depth, k = bin k - 1.

    The label is that of the nearest return in each block of ``downsample`` x ``downsample`` pixels.

    Args:
        depth: (B,N,H,W) metres, 0 = no return.
    """
    low, _, step = config.d_bound
    rows, columns = config.feature_size
    block = config.downsample
    blocks = depth.float().reshape(-1, rows, block, columns, block)
    far = torch.full_like(blocks, 1e5)
    nearest = torch.where(blocks == 0, far, blocks).amin(dim=(2, 4))
    label = (nearest - (low - step)) / step
    in_range = (label >= 1) & (label < config.depth_bins + 1)
    return torch.where(in_range, label, torch.zeros_like(label)).long()
