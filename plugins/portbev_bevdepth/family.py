"""The model family ``bevdepth``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portbev.config.schema import ModelSection, RunConfig
from portbev.models import DetectionModel, Imported
from portbev_bevdepth.config import BevDepthConfig


class BevDepthFamily:
    """BEVDepth with one or more key frames, with or without depth aggregation, and MatrixVT."""

    name = "bevdepth"
    config: type[ModelSection] = BevDepthConfig
    takes: tuple[str, ...] = ("nuscenes",)

    def build(self, config: BevDepthConfig) -> DetectionModel:
        """A model on the CPU; weights from torch's generator."""
        from portbev_bevdepth.model import BEVDepth

        return BEVDepth(config)

    def agree(self, config: RunConfig) -> list[str]:
        """Compare with the other sections, see :func:`portbev_bevdepth.agree.agree`."""
        from portbev_bevdepth.agree import agree

        return agree(config)

    def import_state(self, checkpoint: Mapping[str, Any], model: DetectionModel, *, partial: bool = False) -> Imported:
        """Weights of an official Lightning or EMA checkpoint, see :func:`portbev_bevdepth.checkpoint.import_state`."""
        from portbev_bevdepth.checkpoint import import_state

        return import_state(checkpoint, model, partial=partial)
