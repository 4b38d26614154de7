"""BEVDepth and MatrixVT as a graph of tensors.

The geometry is an input: which cells the points of the frustum fall into is decided on the host, in the same
operations for every runtime, and stays what it is for as long as the calibration does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from portbev.config import RunConfig
from portbev.export.interface import Length, State, Tensors
from portbev.models import Batch, DetectionModel, Detections
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.decode import decode
from portbev_bevdepth.geometry import Geometry, SweepGeometry
from portbev_bevdepth.head import BRANCHES
from portbev_bevdepth.model import BEVDepth, BevDepthOutput
from portbev_bevdepth.prepared import Preparation
from portbev_nuscenes.batches import SweepBatch

BRANCH_NAMES = (*(name for name, _ in BRANCHES), "heatmap")
_PLACES = {"bevdepth": ("voxels",), "matrixvt": ("ring", "ray")}
_EGO = "ego of the key frame"
_MEANINGS = {
    "images": (
        "pictures (B,S,N,3,H,W) of S sweeps, the key frame first, and N cameras; resized, cropped and normalised",
        "",
        "",
    ),
    "camera": (
        "camera parameters (S,B*N,27): fx fy cx cy, rows 0 and 1 of the image transform in columns 0, 1 and 3, "
        "b00 b01 b10 b11 b22 of the ego transform, and the first three rows of camera to ego",
        "pixels and metres",
        _EGO,
    ),
    "voxels": (
        "cell [ix,iy,iz] (S,B,N,D,h,w,3) of each point of the frustum; cells outside of the grid count for nothing",
        "cells",
        _EGO,
    ),
    "ring": ("which depth bins have points in each cell (S,B,D,Y*X)", "", _EGO),
    "ray": ("which image columns have points in each cell (S,B,N*W,Y*X)", "", _EGO),
    "reg": ("offset (x, y) of the centre from its cell's corner (B,2,Y,X)", "cells", _EGO),
    "height": ("height z of the centre (B,1,Y,X)", "metres", _EGO),
    "dim": ("logarithm of length, width and height (B,3,Y,X)", "log metres", _EGO),
    "rot": ("sine and cosine of the heading (B,2,Y,X)", "", _EGO),
    "vel": ("velocity (x, y) (B,2,Y,X)", "metres per second", _EGO),
    "heatmap": ("logit of each class of the task (B,classes,Y,X)", "", _EGO),
}


class BevDepthForms:
    """The forms of the family ``bevdepth``."""

    family = "bevdepth"

    def form(self, config: RunConfig, *, batch: int = 1) -> BevDepthForm:
        """That of a configuration."""
        return BevDepthForm(cast(BevDepthConfig, config.model), batch)


class BevDepthForm:
    """See :class:`portbev.export.interface.ModelForm`."""

    temporal = False
    state: Mapping[str, str] = {}
    postprocessing = "best cells of the heatmaps, boxes of them, and non-maximum suppression"

    def __init__(self, config: BevDepthConfig, batch: int) -> None:
        self.config, self.batch = config, batch
        self._prepare = Preparation(config, Geometry(config), training=False)

    def inputs(self, batch: Batch, state: State) -> Tensors:
        """Pictures, camera parameters and geometry."""
        sweeps = self._prepare(cast(SweepBatch, batch)).sweeps
        places = zip(*(sweep.places for sweep in sweeps), strict=True)
        named = dict(zip(_PLACES[self.config.variant], map(torch.stack, map(list, places)), strict=True))
        camera = torch.stack([sweep.camera for sweep in sweeps])
        return {"images": cast(SweepBatch, batch)["images"], "camera": camera, **named}

    def outputs(self) -> tuple[str, ...]:
        """``TASK_BRANCH``, task after task."""
        tasks = range(len(self.config.head.tasks))
        return tuple(f"task{task}_{branch}" for task in tasks for branch in BRANCH_NAMES)

    def of_model(self, outputs: Any) -> Tensors:
        """The branches of all tasks."""
        tasks = enumerate(cast(BevDepthOutput, outputs).tasks)
        return {f"task{task}_{name}": output[name] for task, output in tasks for name in BRANCH_NAMES}

    def detections(self, outputs: Mapping[str, Tensor]) -> list[Detections]:
        """As the model decodes them."""
        tasks = range(len(self.config.head.tasks))
        return decode(self.config, [{name: outputs[f"task{task}_{name}"] for name in BRANCH_NAMES} for task in tasks])

    def module(self, model: DetectionModel, batch: Batch) -> nn.Module:
        """Pictures and geometry to the branches of all tasks."""
        return _Graph(cast(BEVDepth, model))

    def describe(self, name: str) -> tuple[str, str, str]:
        """Meaning, unit and frame."""
        task, _, branch = name.partition("_")
        if not branch:
            return _MEANINGS[name]
        meaning, unit, frame = _MEANINGS[branch]
        classes = ", ".join(self.config.head.tasks[int(task.removeprefix("task"))])
        return f"{meaning}, of {classes}", unit, frame

    def lengths(self) -> Mapping[str, Length]:
        """All sizes are fixed."""
        return {}


class _Graph(nn.Module):
    """The model, with geometry as tensors."""

    def __init__(self, model: BEVDepth) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, camera: Tensor, *places: Tensor) -> tuple[Tensor, ...]:
        sweeps = [
            SweepGeometry(camera[index], tuple(place[index] for place in places)) for index in range(images.shape[1])
        ]
        bev, _ = self.model.backbone(images, sweeps)
        tasks: list[dict[str, Any]] = self.model.head(bev)
        return tuple(task[name] for task in tasks for name in BRANCH_NAMES)
