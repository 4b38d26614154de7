"""The ``model`` section of a BEVDepth or MatrixVT configuration."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from portbev.config.meaning import Meaning
from portbev.config.schema import ModelSection
from portbev.config.section import Section
from portbev_nuscenes.classes import DETECTION_CLASSES

TASKS = (
    ("car",),
    ("truck", "construction_vehicle"),
    ("bus", "trailer"),
    ("barrier",),
    ("motorcycle", "bicycle"),
    ("pedestrian", "traffic_cone"),
)
Bound = tuple[float, float, float]  # lower, upper and step in metres


class ImageBackboneSection(Section):
    """The ResNet of the pictures."""

    depth: Literal[18, 34, 50, 101] = 50
    """Which ResNet."""
    base_channels: int = Field(64, ge=1)
    """Channels of the stem; 64 is the original's width."""
    frozen_stages: int = Field(0, ge=-1, le=4)
    """Stages whose weights and batch statistics are fixed: -1 none, 0 the stem, 1 to 4 the stages up to there too."""
    weights: str | None = None
    """File of torchvision's ResNet weights (.pth or .safetensors) to start from; null: random ones."""
    zero_init_residual: bool = True
    """Residual branches start at zero."""


class ImageNeckSection(Section):
    """The neck that brings the backbone's four maps to one size."""

    out_channels: tuple[int, int, int, int] = (128, 128, 128, 128)
    """Channels that each of the four maps gets."""


class DepthNetSection(Section):
    """The network that finds depth and context of each feature pixel."""

    mid_channels: int = Field(512, ge=1)
    """Channels inside."""
    blocks: int = Field(3, ge=0)
    """Residual blocks of the depth branch."""
    use_aspp: bool = True
    """Dilated convolutions of several reaches after the blocks."""
    use_dcn: bool = True
    """A deformable convolution at the end."""
    dcn_groups: int = Field(4, ge=1)
    """Groups of channels of that convolution."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of values that are dropped after the dilated convolutions."""


class HeadSection(Section):
    """The heads that find centres and boxes in the bird's-eye view."""

    tasks: tuple[tuple[str, ...], ...] = TASKS
    """Classes of each head."""
    trunk_depth: Literal[18, 34, 50] = 18
    """Which ResNet works on the bird's-eye view."""
    trunk_channels: int = Field(160, ge=1)
    """Channels of its first stage."""
    trunk_strides: tuple[int, ...] = Field((1, 2, 2), min_length=1, max_length=4)
    """Stride of each of its stages."""
    neck_channels: tuple[int, ...] = (64, 64, 64, 64)
    """Channels that the bird's-eye view itself and each stage's map get in the neck."""
    shared_channels: int = Field(64, ge=1)
    """Channels of the map that all heads share."""
    branch_channels: int = Field(64, ge=1)
    """Channels inside each branch of a head."""
    heatmap_bias: float | None = None
    """Initial bias of the heatmaps; null: as `quirks` says."""


class TargetSection(Section):
    """The heatmaps that the heads are trained on."""

    min_overlap: float = Field(0.1, gt=0, lt=1)
    """Overlap (intersection over union) that a centre moved by the radius leaves at least."""
    min_radius: int = Field(2, ge=0)
    """Smallest radius of an object's peak. [cells]"""
    max_objects: int = Field(500, ge=1)
    """Objects that count at most, per head and sample."""


class LossSection(Section):
    """Weights of the losses."""

    heatmap_weight: float = Field(1.0, ge=0)
    """Weight of the heatmaps' loss (focal)."""
    box_weight: float = Field(0.25, ge=0)
    """Weight of the boxes' loss (L1)."""
    depth_weight: float = Field(3.0, ge=0)
    """Weight of the depth's loss (cross entropy with the lidar's depth)."""
    code_weights: tuple[float, ...] = Field((1.0,) * 8 + (0.5, 0.5), min_length=10, max_length=10)
    """Weight of each number of a box: x, y, z, three sizes, sine and cosine of yaw, two velocities."""


class DecodeSection(Section):
    """``min_radius`` holds a squared distance in m^2 for each task, as in the original: 4 means 2 m."""

    fields_mean: ClassVar[Meaning] = Meaning.SCORE

    nms: Literal["circle", "size_aware_circle", "none"] = "circle"
    """How double detections are suppressed: by a circle, by one that grows with the size, or not at all."""
    min_radius: tuple[float, ...] = (4.0, 12.0, 10.0, 1.0, 0.85, 0.175)
    """Squared distance below which a weaker detection of a head goes, one for each head (`circle`). [m^2]"""
    size_scale: tuple[float, ...] = (0.7, 0.4, 0.7, 0.4, 0.7, 1.0)
    """Factor of the sizes, one for each head (`size_aware_circle`)."""
    score_threshold: float = Field(0.1, ge=0, lt=1)
    """Detections with a lower score are dropped."""
    candidates: int = Field(500, ge=1)
    """Cells with the highest scores that each head keeps before suppression."""
    max_per_task: int = Field(83, ge=1)
    """Detections that each head keeps after it."""
    center_range: tuple[float, float, float, float, float, float] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)
    """Detections with their centre outside are dropped: x, y, z of the lower and of the upper corner. [m]"""


class BevDepthConfig(ModelSection):
    """Defaults are BEVDepth R50 256x704 with a 128x128 BEV and one key frame."""

    family: Literal["bevdepth"] = "bevdepth"
    """This family."""
    variant: Literal["bevdepth", "matrixvt"] = "bevdepth"
    """`bevdepth`, or `matrixvt`, which pools by matrix products."""
    quirks: Literal["official", "fixed"] = "official"
    """`official`: as the original does, with its peculiarities; `fixed`: as it was meant."""
    key_frames: int = Field(1, ge=1)
    """Key frames that are put together, the current one included; as many as `data.sweeps`."""
    depth_aggregation: bool = False
    """Refine depth along the rays of neighbouring pixels (the original's `da`)."""
    final_size: tuple[int, int] = (256, 704)
    """Height and width of the pictures, as in `data.image.final_size`. [pixels]"""
    downsample: Literal[4, 8, 16, 32] = 16
    """Stride of the image features. [pixels]"""
    x_bound: Bound = (-51.2, 51.2, 0.8)
    """Lower end, upper end and cell of the bird's-eye view along x, forward. [m]"""
    y_bound: Bound = (-51.2, 51.2, 0.8)
    """The same along y, to the left. [m]"""
    z_bound: Bound = (-5.0, 3.0, 8.0)
    """The same along z, upwards. [m]"""
    d_bound: Bound = (2.0, 58.0, 0.5)
    """Lower end, upper end and step of the depth bins. [m]"""
    context_channels: int = Field(80, ge=1)
    """Channels that each feature pixel lifts into the bird's-eye view."""
    image_backbone: ImageBackboneSection = ImageBackboneSection()
    image_neck: ImageNeckSection = ImageNeckSection()
    depth_net: DepthNetSection = DepthNetSection()
    head: HeadSection = HeadSection()
    targets: TargetSection = TargetSection()
    loss: LossSection = LossSection()
    decode: DecodeSection = DecodeSection()

    @property
    def bev_size(self) -> tuple[int, int]:
        """Cells (X, Y)."""
        return _cell_count(self.x_bound), _cell_count(self.y_bound)

    @property
    def grid_size(self) -> tuple[int, int, int]:
        """Cells (X, Y, Z)."""
        return (*self.bev_size, _cell_count(self.z_bound))

    @property
    def depth_bins(self) -> int:
        return _cell_count(self.d_bound)

    @property
    def feature_size(self) -> tuple[int, int]:
        """(height, width) of the image features."""
        return self.final_size[0] // self.downsample, self.final_size[1] // self.downsample

    @model_validator(mode="after")
    def _validate(self) -> BevDepthConfig:
        for name in ("x_bound", "y_bound", "z_bound", "d_bound"):
            low, high, step = getattr(self, name)
            if step <= 0 or high <= low:
                raise ValueError(f"{name} must be [lower, upper, step] with lower < upper and step > 0")
        if any(side % 32 for side in self.final_size):
            raise ValueError("final_size must be multiples of 32, the stride of the image backbone")
        stride = 2 * math.prod(self.head.trunk_strides)
        if any(side % stride for side in self.bev_size):
            raise ValueError(f"the BEV must have a multiple of {stride} cells a side, but has {self.bev_size}")
        if self.variant == "matrixvt":
            if self.key_frames != 1 or self.depth_aggregation:
                raise ValueError("MatrixVT takes one key frame and no depth aggregation")
            if self.quirks == "official" and self.bev_size[0] != self.bev_size[1]:
                raise ValueError("MatrixVT with quirks: official needs a square BEV; use quirks: fixed")
        return self._validate_tasks()

    def _validate_tasks(self) -> BevDepthConfig:
        names = [name for task in self.head.tasks for name in task]
        unknown = sorted(set(names) - set(DETECTION_CLASSES))
        if unknown or len(set(names)) != len(names) or not all(self.head.tasks) or not names:
            raise ValueError(f"head.tasks must name classes once each, of {', '.join(DETECTION_CLASSES)}")
        count = len(self.head.tasks)
        for name, values in (("min_radius", self.decode.min_radius), ("size_scale", self.decode.size_scale)):
            if len(values) != count:
                raise ValueError(f"decode.{name} has {len(values)} values for {count} tasks")
        if len(self.head.neck_channels) != len(self.head.trunk_strides) + 1:
            raise ValueError("head.neck_channels must name one width for the BEV and one for each stage of the trunk")
        return self


def _cell_count(bound: Bound) -> int:
    return round((bound[1] - bound[0]) / bound[2])
