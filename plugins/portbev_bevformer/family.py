"""The model family ``bevformer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portbev.config.schema import ModelSection, RunConfig
from portbev.models import DetectionModel, Imported
from portbev_bevformer.config import BevFormerConfig


class BevFormerFamily:
    """BEVFormer (version 1) of any size; takes data of kind ``nuscenes_queue``."""

    name = "bevformer"
    config: type[ModelSection] = BevFormerConfig
    takes: tuple[str, ...] = ("nuscenes_queue",)

    def build(self, config: BevFormerConfig) -> DetectionModel:
        """A model on the CPU; weights from torch's generator."""
        from portbev_bevformer.model import BEVFormer

        return BEVFormer(config)

    def agree(self, config: RunConfig) -> list[str]:
        """Compare with the other sections, see :func:`portbev_bevformer.agree.agree`."""
        from portbev_bevformer.agree import agree

        return agree(config)

    def import_state(self, checkpoint: Mapping[str, Any], model: DetectionModel, *, partial: bool = False) -> Imported:
        """Weights of an official checkpoint, see :func:`portbev_bevformer.checkpoint.import_state`."""
        from portbev_bevformer.checkpoint import import_state

        return import_state(checkpoint, model, partial=partial)
