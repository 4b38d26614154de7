"""The ``model`` section of a BEVFormer configuration."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from portbev.config.meaning import Meaning
from portbev.config.quirks import Choice, Quirks
from portbev.config.schema import ModelSection
from portbev.config.section import Section
from portbev.nn import detr_config
from portbev_nuscenes.classes import DETECTION_CLASSES

Range = tuple[float, float, float, float, float, float]


class QuirksSection(Quirks):
    """Places where the original does something other than what was intended, and checkpoints were trained with it.

    ``quirks: official`` and ``quirks: fixed`` set all of them.
    """

    rotation_center: Choice = "official"  # the BEV is rotated about cell (100, 100) of any grid; fixed: the middle
    visibility_lists: Choice = "official"  # the queries visible to a camera are those of the batch's first sample
    temporal_concat: Choice = "official"  # in batches of several samples, history comes from the wrong sample
    image_size: Choice = "official"  # the padding below and to the right of an image counts as image


class ImageBackboneSection(Section):
    depth: Literal[18, 34, 50, 101] = 50
    base_channels: int = Field(64, ge=1)
    style: Literal["pytorch", "caffe"] = "pytorch"
    deformable_stages: tuple[int, ...] = ()  # stages, from 1, with modulated deformable 3x3 convolutions
    stages: tuple[int, ...] = Field((4,), min_length=1)  # stages, from 1, whose outputs go to the neck
    frozen_stages: int = Field(1, ge=-1, le=4)
    frozen_norms: bool = True
    zero_init_residual: bool = False
    checkpointing: Annotated[bool, Meaning.HOW] = False  # less memory, about a third more time
    weights: str | None = None  # torchvision ResNet weights (.pth or .safetensors) to start from


class EncoderSection(Section):
    layers: int = Field(3, ge=1)
    anchors: int = Field(4, ge=1)  # points of a cell's pillar, at different heights
    temporal_points: int = Field(4, ge=1)
    spatial_points: int = Field(8, ge=1)  # per level; a multiple of anchors
    checkpointing: Annotated[bool, Meaning.HOW] = False


class LossSection(detr_config.LossSection):
    code_weights: tuple[float, ...] = Field((1.0,) * 8 + (0.2, 0.2), min_length=10, max_length=10)


class DecodeSection(Section):
    fields_mean: ClassVar[Meaning] = Meaning.SCORE

    max_detections: int = Field(300, ge=1)
    score_threshold: float | None = None
    center_range: Range = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)


class BevFormerConfig(ModelSection):
    """Defaults are BEVFormer-tiny."""

    family: Literal["bevformer"] = "bevformer"
    quirks: QuirksSection = QuirksSection()
    # Until July 2023 the original shifted the present frame's reference points together with those of the history.
    # Checkpoints published before (all of version 1, in 2022) were presumably trained so: set it to evaluate them.
    aliased_reference: bool = False
    point_cloud_range: Range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)  # metres, LIDAR_TOP frame
    bev_size: tuple[int, int] = (50, 50)  # cells (rows along y, columns along x)
    channels: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)
    hidden: int = Field(512, ge=1)  # channels inside the feed-forward layers
    dropout: float = Field(0.1, ge=0, lt=1)
    cameras: int = Field(6, ge=1)
    levels: int = Field(1, ge=1)  # number of the neck's maps
    image_backbone: ImageBackboneSection = ImageBackboneSection()
    encoder: EncoderSection = EncoderSection()
    decoder: detr_config.DecoderSection = detr_config.DecoderSection()
    classes: tuple[str, ...] = DETECTION_CLASSES
    loss: LossSection = LossSection()
    decode: DecodeSection = DecodeSection()

    @property
    def cell(self) -> tuple[float, float]:
        """Size of a cell in metres (along y, along x)."""
        x0, y0, _, x1, y1, _ = self.point_cloud_range
        return (y1 - y0) / self.bev_size[0], (x1 - x0) / self.bev_size[1]

    @model_validator(mode="after")
    def _validate(self) -> BevFormerConfig:
        low, high = self.point_cloud_range[:3], self.point_cloud_range[3:]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            raise ValueError("point_cloud_range must be [x0, y0, z0, x1, y1, z1] with each first below its second")
        if self.channels % self.heads or self.channels % 2:
            raise ValueError(f"channels ({self.channels}) must be even and a multiple of heads ({self.heads})")
        if self.encoder.spatial_points % self.encoder.anchors:
            raise ValueError("encoder.spatial_points must be a multiple of encoder.anchors")
        if self.levels < len(self.image_backbone.stages):
            raise ValueError(f"levels ({self.levels}) must be at least the number of image_backbone.stages")
        if any(not 1 <= s <= 4 for s in (*self.image_backbone.stages, *self.image_backbone.deformable_stages)):
            raise ValueError("stages count from 1 to 4")
        if list(self.image_backbone.stages) != sorted(set(self.image_backbone.stages)):
            raise ValueError(f"image_backbone.stages must rise, fine to coarse, but are {self.image_backbone.stages}")
        unknown = sorted(set(self.classes) - set(DETECTION_CLASSES))
        if unknown or len(set(self.classes)) != len(self.classes) or not self.classes:
            raise ValueError(f"classes must name classes once each, of {', '.join(DETECTION_CLASSES)}")
        return self
