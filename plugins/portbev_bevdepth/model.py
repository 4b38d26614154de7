"""The models BEVDepth and MatrixVT."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from portbev.models import DetectionModel, Detections, with_prepared
from portbev.nn.image_backbone import load_backbone
from portbev.nn.misfit import Hint
from portbev.nn.precision import full_precision
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.decode import decode
from portbev_bevdepth.head import BEVDepthHead, TaskOutput
from portbev_bevdepth.losses import depth_loss, detection_losses
from portbev_bevdepth.lss import LSSFPN
from portbev_bevdepth.matrixvt import MatrixVT
from portbev_bevdepth.prepared import Preparation
from portbev_nuscenes.batches import SweepBatch


class BevDepthOutput(NamedTuple):
    """Raw outputs: one dict of branches per task (see :class:`BEVDepthHead`) and the key frame's depth (B*N,D,h,w)."""

    tasks: list[TaskOutput]
    depth: Tensor


class BEVDepth(DetectionModel):
    """BEVDepth (Li et al., AAAI 2023) or, with ``variant: matrixvt``, MatrixVT (Zhou et al., ICCV 2023).

    Keys, shapes and dtypes of the state are those of the original implementation's model (``backbone.*``, ``head.*``).
    """

    compiled_parts = (
        "backbone.img_backbone",
        "backbone.img_neck",
        "head.trunk",
        "head.neck",
        "head.shared_conv",
    )
    weight_hints = (
        Hint(r"task_heads\.\d+\.heatmap\.", "other classes in a task", "model.head.tasks"),
        Hint(r"depth_net\.depth_conv\.", "another number of depth bins", "model.d_bound"),
        Hint(r"depth_net\.context_conv\.", "other context channels", "model.context_channels"),
        Hint(r"head\.trunk\.conv1\.", "other BEV channels", "model.context_channels times model.key_frames"),
    )

    def __init__(self, config: BevDepthConfig) -> None:
        super().__init__()
        self.config = config
        self.classes = tuple(name for task in config.head.tasks for name in task)
        self.backbone = (MatrixVT if config.variant == "matrixvt" else LSSFPN)(config)
        self.head = BEVDepthHead(config)

    def load_pretrained(self) -> list[str]:
        """Load the image backbone's weights, see :func:`portbev.nn.image_backbone.load_backbone`."""
        return load_backbone(self.backbone.img_backbone, self.config.image_backbone)

    def preparation(self, *, training: bool) -> Preparation:
        """The geometry of each sweep, and the targets."""
        return Preparation(self.config, self.backbone.geometry, training=training)

    def forward(self, batch: SweepBatch) -> BevDepthOutput:
        """Raw outputs of a batch. ``batch["images"]`` is on the model's device, ``batch["mats"]`` is on the host."""
        images = batch["images"]
        prepared = with_prepared(batch, self.preparation(training=False), images.device)["prepared"]
        bev, depth = self.backbone(images, prepared.sweeps)
        return BevDepthOutput(self.head(bev), depth)

    def losses(self, outputs: BevDepthOutput, batch: SweepBatch, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        """The losses ``heatmap`` and ``box``, summed over the tasks, and ``depth`` if the batch has lidar depth."""
        prepared = with_prepared(batch, self.preparation(training=True), outputs.depth.device)["prepared"]
        with full_precision(outputs.depth.device):
            heatmaps, boxes = detection_losses(self.config, outputs.tasks, prepared.targets, mean_over_ranks)
            terms = {"heatmap": torch.stack(heatmaps).sum(), "box": torch.stack(boxes).sum()}
            if batch["depth"] is not None:
                terms["depth"] = depth_loss(self.config, outputs.depth, batch["depth"])
        return terms

    def decode(self, outputs: BevDepthOutput, batch: SweepBatch) -> list[Detections]:
        """Detections of each sample in the ego frame of the key frame (augmented, if the batch is)."""
        return decode(self.config, outputs.tasks)
