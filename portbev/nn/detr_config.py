"""Sections that the configurations of DETR-like models share. Subclasses choose the defaults."""

from __future__ import annotations

from pydantic import Field

from portbev.config.section import Section


class DecoderSection(Section):
    """The decoder from queries to boxes."""

    layers: int = Field(6, ge=1)
    """Layers, each with a head that refines the boxes."""
    queries: int = Field(900, ge=1)
    """Boxes that are looked for."""
    points: int = Field(4, ge=1)
    """Sampling points of a head of attention in the bird's-eye view."""


class LossSection(Section):
    """Weights of the losses, and of the costs that the matching adds up."""

    class_weight: float = Field(2.0, ge=0)
    """Weight of the loss of classes (focal)."""
    box_weight: float = Field(0.25, ge=0)
    """Weight of the loss of boxes (L1)."""
    class_cost: float = Field(2.0, ge=0)
    """Weight of the classes when boxes are matched."""
    box_cost: float = Field(0.25, ge=0)
    """Weight of the boxes when boxes are matched."""
