"""Detections from the head's outputs, on the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from portbev.models import Detections
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.head import TaskOutput, box_code
from portbev_bevdepth.nms import Indices, circle_nms, size_aware_circle_nms
from portbev_nuscenes.classes import DETECTION_CLASSES


def decode(config: BevDepthConfig, outputs: Sequence[TaskOutput]) -> list[Detections]:
    """Detections of each sample: task after task, and within a task by falling score.

    Suppression treats all classes of a task together. Peaks of the heatmaps are not searched for; circle NMS leaves the
    best cell of each. Sizes beyond float32 become inf or 0.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # distances of such boxes
        by_task = [_decode_task(config, task, output) for task, output in enumerate(outputs)]
    return [_concatenate(sample) for sample in zip(*by_task, strict=True)]


def _decode_task(config: BevDepthConfig, task: int, output: TaskOutput) -> list[Detections]:
    heatmap = output["heatmap"].detach().float().cpu().sigmoid()
    code = box_code(output).detach().float().cpu()
    labels = torch.tensor([DETECTION_CLASSES.index(name) for name in config.head.tasks[task]])
    return [_decode_sample(config, task, h, c, labels) for h, c in zip(heatmap, code, strict=True)]


def _decode_sample(config: BevDepthConfig, task: int, heatmap: Tensor, code: Tensor, labels: Tensor) -> Detections:
    cells = heatmap[0].numel()
    columns = heatmap.shape[2]
    scores, indices = heatmap.flatten().topk(min(config.decode.candidates, heatmap.numel()))
    classes, cell = indices // cells, indices % cells
    codes = code.flatten(1)[:, cell].T
    x = (cell % columns + codes[:, 0]) * config.x_bound[2] + config.x_bound[0]
    y = (cell // columns + codes[:, 1]) * config.y_bound[2] + config.y_bound[0]
    yaw = torch.atan2(codes[:, 6], codes[:, 7])
    centers = torch.stack([x, y, codes[:, 2]], dim=1)
    boxes = torch.cat([centers, codes[:, 3:6].exp(), yaw[:, None], codes[:, 8:10]], dim=1)
    low, high = centers.new_tensor(config.decode.center_range).split(3)
    # what is NaN passes, to be counted by the benchmark
    keep = ~(scores <= config.decode.score_threshold) & ~((centers < low) | (centers > high)).any(dim=1)
    candidates = Detections(boxes[keep].numpy(), scores[keep].numpy(), labels[classes[keep]].numpy())
    placed = np.isfinite(candidates.boxes[:, :2]).all(1) & np.isfinite(candidates.scores)
    usable, others = np.flatnonzero(placed), np.flatnonzero(~placed)[: config.decode.max_per_task]
    chosen = usable[_suppress(config, task, _select(candidates, usable))]
    return _select(candidates, np.concatenate([chosen, others]))


def _suppress(config: BevDepthConfig, task: int, candidates: Detections) -> Indices:
    """Indices of the detections that non-maximum suppression keeps."""
    section, boxes, scores = config.decode, candidates.boxes, candidates.scores
    if section.nms == "circle":
        return circle_nms(boxes[:, :2], scores, section.min_radius[task], section.max_per_task)
    if section.nms == "size_aware_circle":
        return size_aware_circle_nms(boxes, scores, section.size_scale[task], section.max_per_task)
    return np.arange(min(len(scores), section.max_per_task))


def _select(detections: Detections, indices: Indices) -> Detections:
    return Detections(detections.boxes[indices], detections.scores[indices], detections.labels[indices])


def _concatenate(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
