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

    rotation_center: Choice = "official"
    """`official` rotates the history about cell (100, 100) of any grid; `fixed` about the middle."""
    visibility_lists: Choice = "official"
    """`official`: the queries that a camera sees are those of the batch's first sample."""
    temporal_concat: Choice = "official"
    """`official`: in batches of several samples, history comes from the wrong sample."""
    image_size: Choice = "official"
    """`official`: the padding below and to the right of a picture counts as picture."""


class ImageBackboneSection(Section):
    """The ResNet of the pictures."""

    depth: Literal[18, 34, 50, 101] = 50
    """Which ResNet."""
    base_channels: int = Field(64, ge=1)
    """Channels of the stem; 64 is the original's width."""
    style: Literal["pytorch", "caffe"] = "pytorch"
    """Where a bottleneck has its stride: in the 3x3 convolution (`pytorch`) or the first 1x1 (`caffe`)."""
    deformable_stages: tuple[int, ...] = ()
    """Stages, from 1, with modulated deformable 3x3 convolutions."""
    stages: tuple[int, ...] = Field((4,), min_length=1)
    """Stages, from 1, whose outputs go to the neck."""
    frozen_stages: int = Field(1, ge=-1, le=4)
    """Stages whose weights and batch statistics are fixed: -1 none, 0 the stem, 1 to 4 the stages up to there too."""
    frozen_norms: bool = True
    """Batch normalisation keeps its statistics in all stages."""
    zero_init_residual: bool = False
    """Residual branches start at zero."""
    checkpointing: Annotated[bool, Meaning.HOW] = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    weights: str | None = None
    """File of torchvision's ResNet weights (.pth or .safetensors) to start from; null: random ones."""


class EncoderSection(Section):
    """The encoder from pictures and history to the bird's-eye view."""

    layers: int = Field(3, ge=1)
    """Layers."""
    anchors: int = Field(4, ge=1)
    """Points of a cell's pillar, at different heights."""
    temporal_points: int = Field(4, ge=1)
    """Sampling points of a head of attention to the history."""
    spatial_points: int = Field(8, ge=1)
    """Sampling points of a head of attention to a level of the pictures; a multiple of `anchors`."""
    checkpointing: Annotated[bool, Meaning.HOW] = False
    """Recompute activations in the backward pass: less memory, more time."""


class LossSection(detr_config.LossSection):
    code_weights: tuple[float, ...] = Field((1.0,) * 8 + (0.2, 0.2), min_length=10, max_length=10)
    """Weight of each number of a box: two of the centre, two sizes, height of the centre, third size, sine and cosine
    of yaw, two velocities."""


class DecodeSection(Section):
    """From the network's outputs to detections."""

    fields_mean: ClassVar[Meaning] = Meaning.SCORE

    max_detections: int = Field(300, ge=1)
    """Detections of a sample at most."""
    score_threshold: float | None = None
    """Detections with a lower score are dropped; null: none."""
    center_range: Range = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    """Detections with their centre outside are dropped: x, y, z of the lower and of the upper corner. [m]"""


class BevFormerConfig(ModelSection):
    """Defaults are BEVFormer-tiny."""

    family: Literal["bevformer"] = "bevformer"
    """This family."""
    quirks: QuirksSection = QuirksSection()
    aliased_reference: bool = False
    """Shift the present frame's reference points together with those of the history, as the original did until July
    2023; checkpoints published before (all of version 1, in 2022) were presumably trained so."""
    point_cloud_range: Range = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    """Area of the bird's-eye view, in the lidar's frame: x, y, z of the lower and of the upper corner. [m]"""
    bev_size: tuple[int, int] = (50, 50)
    """Rows along y and columns along x of the bird's-eye view. [cells]"""
    channels: int = Field(256, ge=8)
    """Channels of queries and features; even, and a multiple of `heads`."""
    heads: int = Field(8, ge=1)
    """Heads of attention."""
    hidden: int = Field(512, ge=1)
    """Channels inside the feed-forward layers."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of values that are dropped in training."""
    cameras: int = Field(6, ge=1)
    """Number of pictures of a frame."""
    levels: int = Field(1, ge=1)
    """Number of the neck's maps."""
    image_backbone: ImageBackboneSection = ImageBackboneSection()
    encoder: EncoderSection = EncoderSection()
    decoder: detr_config.DecoderSection = detr_config.DecoderSection()
    classes: tuple[str, ...] = DETECTION_CLASSES
    """Names of the classes, in the order of the outputs."""
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
