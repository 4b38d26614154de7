"""From the head's outputs to boxes, on the host."""

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
    """Detections of each sample: task after task, best first within a task.

    Suppression is per task over all its classes together. There is no peak search: circle NMS does that work.
    """
    per_task = [_decode_task(config, index, output) for index, output in enumerate(outputs)]
    return [_join(sample) for sample in zip(*per_task, strict=True)]


def _decode_task(config: BevDepthConfig, task: int, output: TaskOutput) -> list[Detections]:
    heatmap = output["heatmap"].detach().float().cpu().sigmoid()
    code = box_code(output).detach().float().cpu()
    labels = torch.tensor([DETECTION_CLASSES.index(name) for name in config.head.tasks[task]])
    return [_decode_sample(config, task, h, c, labels) for h, c in zip(heatmap, code, strict=True)]


def _decode_sample(config: BevDepthConfig, task: int, heatmap: Tensor, code: Tensor, labels: Tensor) -> Detections:
    cells = heatmap[0].numel()
    columns = heatmap.shape[2]
    scores, places = heatmap.flatten().topk(min(config.decode.candidates, heatmap.numel()))
    classes, cell = places // cells, places % cells
    found = code.flatten(1)[:, cell].T
    x = (cell % columns + found[:, 0]) * config.x_bound[2] + config.x_bound[0]
    y = (cell // columns + found[:, 1]) * config.y_bound[2] + config.y_bound[0]
    yaw = torch.atan2(found[:, 6], found[:, 7])
    place = torch.stack([x, y, found[:, 2]], dim=1)
    boxes = torch.cat([place, found[:, 3:6].exp(), yaw[:, None], found[:, 8:10]], dim=1)
    low, high = place.new_tensor(config.decode.center_range).split(3)
    good = (scores > config.decode.score_threshold) & ((place >= low) & (place <= high)).all(dim=1)
    result = Detections(boxes[good].numpy(), scores[good].numpy(), labels[classes[good]].numpy())
    return _pick(result, _suppress(config, task, result))


def _suppress(config: BevDepthConfig, task: int, found: Detections) -> Indices:
    section = config.decode
    if section.nms == "circle":
        return circle_nms(found.boxes[:, :2], found.scores, section.min_radius[task], section.max_per_task)
    if section.nms == "size_aware_circle":
        return size_aware_circle_nms(found.boxes, found.scores, section.size_scale[task], section.max_per_task)
    return np.arange(min(len(found.scores), section.max_per_task))


def _pick(found: Detections, rows: Indices) -> Detections:
    return Detections(found.boxes[rows], found.scores[rows], found.labels[rows])


def _join(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([p.boxes for p in parts]),
        np.concatenate([p.scores for p in parts]),
        np.concatenate([p.labels for p in parts]),
    )
