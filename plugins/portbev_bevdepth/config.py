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
    depth: Literal[18, 34, 50, 101] = 50
    base_channels: int = Field(64, ge=1)
    frozen_stages: int = Field(0, ge=-1, le=4)  # 0: the stem's weights and batch statistics are fixed
    weights: str | None = None  # torchvision ResNet weights (.pth or .safetensors) to start from
    zero_init_residual: bool = True


class ImageNeckSection(Section):
    out_channels: tuple[int, int, int, int] = (128, 128, 128, 128)


class DepthNetSection(Section):
    mid_channels: int = Field(512, ge=1)
    blocks: int = Field(3, ge=0)
    use_aspp: bool = True
    use_dcn: bool = True
    dcn_groups: int = Field(4, ge=1)
    dropout: float = Field(0.5, ge=0, lt=1)


class HeadSection(Section):
    tasks: tuple[tuple[str, ...], ...] = TASKS
    trunk_depth: Literal[18, 34, 50] = 18
    trunk_channels: int = Field(160, ge=1)
    trunk_strides: tuple[int, ...] = Field((1, 2, 2), min_length=1, max_length=4)
    neck_channels: tuple[int, ...] = (64, 64, 64, 64)
    shared_channels: int = Field(64, ge=1)
    branch_channels: int = Field(64, ge=1)
    heatmap_bias: float | None = None  # initial bias of the heatmaps; null: see `quirks`


class TargetSection(Section):
    min_overlap: float = Field(0.1, gt=0, lt=1)
    min_radius: int = Field(2, ge=0)  # cells
    max_objects: int = Field(500, ge=1)  # per task and sample


class LossSection(Section):
    heatmap_weight: float = Field(1.0, ge=0)
    box_weight: float = Field(0.25, ge=0)
    depth_weight: float = Field(3.0, ge=0)
    code_weights: tuple[float, ...] = Field((1.0,) * 8 + (0.5, 0.5), min_length=10, max_length=10)


class DecodeSection(Section):
    """``min_radius`` holds a squared distance in m^2 for each task, as in the original: 4 means 2 m."""

    fields_mean: ClassVar[Meaning] = Meaning.SCORE

    nms: Literal["circle", "size_aware_circle", "none"] = "circle"
    min_radius: tuple[float, ...] = (4.0, 12.0, 10.0, 1.0, 0.85, 0.175)
    size_scale: tuple[float, ...] = (0.7, 0.4, 0.7, 0.4, 0.7, 1.0)  # for size_aware_circle, one for each task
    score_threshold: float = Field(0.1, ge=0, lt=1)
    candidates: int = Field(500, ge=1)  # cells with the highest scores per task, before suppression
    max_per_task: int = Field(83, ge=1)
    center_range: tuple[float, float, float, float, float, float] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)


class BevDepthConfig(ModelSection):
    """Defaults are BEVDepth R50 256x704 with a 128x128 BEV and one key frame."""

    family: Literal["bevdepth"] = "bevdepth"
    variant: Literal["bevdepth", "matrixvt"] = "bevdepth"
    quirks: Literal["official", "fixed"] = "official"
    key_frames: int = Field(1, ge=1)
    depth_aggregation: bool = False
    final_size: tuple[int, int] = (256, 704)  # (height, width) of the images, as in data.image.final_size
    downsample: Literal[4, 8, 16, 32] = 16  # image pixels per feature pixel
    x_bound: Bound = (-51.2, 51.2, 0.8)
    y_bound: Bound = (-51.2, 51.2, 0.8)
    z_bound: Bound = (-5.0, 3.0, 8.0)
    d_bound: Bound = (2.0, 58.0, 0.5)
    context_channels: int = Field(80, ge=1)
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
