"""The model family ``bevdepth``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portbev.config.schema import ModelSection
from portbev.models import DetectionModel, Imported
from portbev_bevdepth.config import BevDepthConfig


class BevDepthFamily:
    """BEVDepth with one or more key frames, with or without depth aggregation, and MatrixVT."""

    name = "bevdepth"
    config: type[ModelSection] = BevDepthConfig
    takes: tuple[str, ...] = ("nuscenes",)

    def build(self, config: ModelSection | Mapping[str, Any]) -> DetectionModel:
        """Model on the CPU; initial weights from torch's generator, image backbone from a file if one is named."""
        from portbev.nn.pretrained import load_resnet
        from portbev_bevdepth.model import BEVDepth

        section = config if isinstance(config, BevDepthConfig) else BevDepthConfig.model_validate(config)
        model = BEVDepth(section)
        if section.image_backbone.weights:
            load_resnet(model.backbone.img_backbone, section.image_backbone.weights)
        return model

    def import_state(self, checkpoint: Mapping[str, Any], model: DetectionModel) -> Imported:
        """Weights of an official Lightning or EMA checkpoint, see :func:`portbev_bevdepth.checkpoint.import_state`."""
        from portbev_bevdepth.checkpoint import import_state

        return import_state(checkpoint, model)
