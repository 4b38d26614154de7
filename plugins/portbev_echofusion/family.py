"""The model family ``echofusion``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from portbev.config.schema import ModelSection, RunConfig
from portbev.models import DetectionModel, Imported
from portbev_echofusion.config import EchoFusionConfig

if TYPE_CHECKING:
    from portbev.data.generated.options import GeneratedOptions


class EchoFusionFamily:
    """EchoFusion on any of the radar's products, with or without camera; takes data of kind ``radial``."""

    name = "echofusion"
    config: type[ModelSection] = EchoFusionConfig
    takes: tuple[str, ...] = ("radial",)

    def build(self, config: EchoFusionConfig) -> DetectionModel:
        """A model on the CPU; weights from torch's generator."""
        from portbev_echofusion.model import EchoFusion

        return EchoFusion(config)

    def agree(self, config: RunConfig) -> list[str]:
        """Compare with the other sections, see :func:`portbev_echofusion.agree.agree`."""
        from portbev_echofusion.agree import agree

        return agree(config)

    def needs(self, config: RunConfig, generated: GeneratedOptions) -> dict[str, Any]:
        """The size of the radar's maps, where that of generated recordings is another: key -> value."""
        from portbev_echofusion.agree import radar_sizes

        return radar_sizes(config, generated)

    def import_state(self, checkpoint: Mapping[str, Any], model: DetectionModel, *, partial: bool = False) -> Imported:
        """Weights of an official checkpoint, see :func:`portbev_echofusion.checkpoint.import_state`."""
        from portbev_echofusion.checkpoint import import_state

        return import_state(checkpoint, model, partial=partial)
