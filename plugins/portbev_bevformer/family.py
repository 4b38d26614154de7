"""The model family ``bevformer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portbev.config.schema import ModelSection
from portbev.models import DetectionModel, Imported
from portbev_bevformer.config import BevFormerConfig


class BevFormerFamily:
    """BEVFormer (version 1) of any size; takes data of kind ``nuscenes_queue``."""

    name = "bevformer"
    config: type[ModelSection] = BevFormerConfig
    takes: tuple[str, ...] = ("nuscenes_queue",)

    def build(self, config: ModelSection | Mapping[str, Any]) -> DetectionModel:
        """Model on the CPU; initial weights from torch's generator, image backbone from a file if one is named."""
        from portbev.nn.pretrained import load_resnet
        from portbev_bevformer.model import BEVFormer

        section = config if isinstance(config, BevFormerConfig) else BevFormerConfig.model_validate(config)
        model = BEVFormer(section)
        if section.image_backbone.weights:
            load_resnet(model.img_backbone, section.image_backbone.weights)
        return model

    def import_state(self, checkpoint: Mapping[str, Any], model: DetectionModel) -> Imported:
        """Weights of an official checkpoint, see :func:`portbev_bevformer.checkpoint.import_state`."""
        from portbev_bevformer.checkpoint import import_state

        return import_state(checkpoint, model)
