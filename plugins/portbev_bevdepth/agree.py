"""What the ``model`` section of BEVDepth must have in common with the others."""

from __future__ import annotations

import math
from typing import cast

from portbev.config.agreement import center_range, disagreement, one_value, settings, shown
from portbev.config.schema import RunConfig
from portbev_bevdepth.config import BevDepthConfig
from portbev_nuscenes.agree import absent_classes, too_many_boxes
from portbev_nuscenes.config import NuscenesData


def agree(config: RunConfig) -> list[str]:
    """Notes; see :meth:`portbev.models.ModelFamily.agree`.

    Raises:
        ConfigError: other numbers of key frames, other sizes of images, or a batch normalisation with one value.
    """
    model, data = cast(BevDepthConfig, config.model), cast(NuscenesData, config.data)
    _inputs(model, data)
    _batch_statistics(config, model, data)
    bounds = {f"model.{axis}_bound": getattr(model, f"{axis}_bound") for axis in "xy"}
    seen = ((model.x_bound[0], model.x_bound[1]), (model.y_bound[0], model.y_bound[1]))  # heights are not confined
    notes = center_range(model.decode.center_range, seen, bounds)
    notes += _depth(model, data)
    notes += absent_classes([name for task in model.head.tasks for name in task], "model.head.tasks", data.categories)
    tasks, section = len(model.head.tasks), model.decode
    limits = {"model.decode.max_per_task": section.max_per_task, "tasks of model.head.tasks": tasks}
    return notes + too_many_boxes(tasks * min(section.max_per_task, section.candidates), limits)


def _inputs(model: BevDepthConfig, data: NuscenesData) -> None:
    if len(data.sweeps) != model.key_frames:
        sweeps = list(range(model.key_frames))
        raise disagreement(
            f"the data have {len(data.sweeps)} key frames a sample, the model takes {model.key_frames}",
            {"data.sweeps": data.sweeps, "model.key_frames": model.key_frames},
            f"Set model.key_frames={len(data.sweeps)}, or data.sweeps={shown(sweeps)}",
        )
    if data.image.final_size != model.final_size:
        raise disagreement(
            "images of the data and of the model have different sizes",
            {"data.image.final_size": data.image.final_size, "model.final_size": model.final_size},
            "Set both to the same [height,width]",
        )


def _batch_statistics(config: RunConfig, model: BevDepthConfig, data: NuscenesData) -> None:
    """Layers that see one value for each image (of a sweep), and the trunk's last stage."""
    batch, cameras = config.train.batch_size, len(data.cameras)
    cameras_named = {"data.cameras": data.cameras}
    what = "the normalisation of the camera parameters"
    one_value(batch * cameras, config, what, cameras_named, "or take more cameras")
    columns, rows = (side // (2 * math.prod(model.head.trunk_strides)) for side in model.bev_size)
    grid = {"model.x_bound": model.x_bound, "model.y_bound": model.y_bound}
    one_value(batch * columns * rows, config, "the last stage of the head's trunk", grid, "or a grid of more cells")


def _depth(model: BevDepthConfig, data: NuscenesData) -> list[str]:
    """Notes on labels of the depth without a loss or the reverse, and on a grid that reaches beyond all depths."""
    notes, weight = [], model.loss.depth_weight
    values = {"data.depth_labels": data.depth_labels, "model.loss.depth_weight": weight}
    if weight and not data.depth_labels:
        notes.append(f"without depth labels there is no depth loss, whatever its weight ({settings(values)})")
    if data.depth_labels and not weight:
        notes.append(f"depth labels are made of every lidar scan and not used ({settings(values)})")
    farthest = max(abs(side) for side in (*model.x_bound[:2], *model.y_bound[:2]))
    if model.d_bound[1] < farthest:
        bounds = {f"model.{axis}_bound": getattr(model, f"{axis}_bound") for axis in "dxy"}
        what = f"cells farther than {shown(model.d_bound[1])} m straight ahead of a camera get no features"
        notes.append(f"{what} ({settings(bounds)})")
    return notes
