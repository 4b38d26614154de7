"""Sections that the configurations of DETR-like models share. Subclasses choose the defaults."""

from __future__ import annotations

from pydantic import Field

from portbev.config.section import Section


class DecoderSection(Section):
    layers: int = Field(6, ge=1)
    queries: int = Field(900, ge=1)
    points: int = Field(4, ge=1)


class LossSection(Section):
    """Weights of the losses, and of the costs that the matching adds up."""

    class_weight: float = Field(2.0, ge=0)
    box_weight: float = Field(0.25, ge=0)
    class_cost: float = Field(2.0, ge=0)
    box_cost: float = Field(0.25, ge=0)
