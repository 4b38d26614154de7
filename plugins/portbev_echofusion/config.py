"""The ``model`` section of an EchoFusion configuration."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from portbev.config.meaning import Meaning
from portbev.config.quirks import Choice, Quirks
from portbev.config.schema import ModelSection
from portbev.config.section import Section
from portbev.nn import detr_config

Range = tuple[float, float, float, float, float, float]
LEVELS = 3
"""Number of maps of the feature pyramids; each map has half the rows and half the azimuths of the one before."""


class QuirksSection(Quirks):
    """Places where the original does something other than what was intended, and checkpoints were trained with it.

    ``quirks: official`` and ``quirks: fixed`` set all of them. The key ``mirror`` is set by itself.
    """

    unwrap: Choice = "official"
    """`official`: chirps of `rt` and `adc` are unwrapped as if they were Doppler bins; `fixed`: `rd` only."""
    grid: Choice = "official"
    """`official`: cell centres have the same offset on all levels; `fixed`: half a cell of each level."""
    sampling: Choice = "official"
    """`official`: image rays span as many metres as they have cells, and columns are stretched."""
    visibility: Choice = "official"
    """`official`: all heights or none, by image column; `fixed`: each height, by depth and row too."""
    calibration: Choice = "official"
    """`official`: every sample uses the calibration of the batch's first one."""
    heading: Choice = "official"
    """`official`: relative to atan2(x, y) instead of the azimuth atan2(y, x)."""


class PointsSection(Section):
    """The map of a point cloud: each cell of range and azimuth has the maximum of its points' learned features."""

    channels: int = Field(64, ge=1)
    """Channels of a cell."""
    azimuths: int = Field(256, ge=4)
    """Number of cells in `azimuth_range`. [cells]"""
    azimuth_range: tuple[float, float] = (-75.0, 75.0)
    """First and last azimuth. [degrees]"""


class RadarSection(Section):
    """The radar data that the network takes. The default sizes are those of RADIal's radar."""

    input: Literal["rt", "rd", "ra", "adc", "pc"] = "rt"
    """`rt` range-time, `rd` range-Doppler or `ra` range-azimuth maps, `adc` the chips' samples, `pc` points; as in
    `data.radar`."""
    samples: int = Field(512, ge=16, multiple_of=16)
    """Samples of a chirp, which are the rows of radar maps."""
    chirps: int = Field(256, ge=4)
    """Chirps of a frame, which are the columns of `rt`, `rd` and `adc`."""
    azimuths: int = Field(751, ge=1)
    """Columns of `ra`."""
    receivers: int = Field(16, ge=1)
    """Receiving antennas."""
    doppler_slots: int = Field(16, ge=1)
    """Parts of the Doppler axis in which the transmitters' echoes lie."""
    slots: tuple[int, ...] = (0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    """Doppler slot of each transmitter."""
    log: bool = False
    """Take log(1 + magnitude) in `rt` and `ra`; the original does not."""
    precision: Annotated[Literal["complex64", "complex128"], Meaning.HOW] = "complex64"
    """Numbers of the signal chain, where batches hold raw samples."""
    embedded: int = Field(64, ge=1)
    """Input channels of the radar backbone (`rt`, `rd`, `adc`)."""
    points: PointsSection = PointsSection()


class RadarBackboneSection(Section):
    """The ResNet of the radar's maps."""

    depth: Literal[18, 34, 50, 101] = 50
    """Which ResNet."""
    base_channels: int = Field(64, ge=1)
    """Channels of the stem; 64 is the original's width."""
    zero_init_residual: bool = True
    """Residual branches start at zero."""


class ImageBackboneSection(Section):
    """The ResNet of the pictures."""

    depth: Literal[18, 34, 50, 101] = 50
    """Which ResNet."""
    base_channels: int = Field(64, ge=1)
    """Channels of the stem; 64 is the original's width."""
    frozen_stages: int = Field(1, ge=-1, le=4)
    """Stages whose weights and batch statistics are fixed: -1 none, 0 the stem, 1 to 4 the stages up to there too."""
    zero_init_residual: bool = True
    """Residual branches start at zero."""
    weights: str | None = None
    """File of torchvision's ResNet weights (.pth or .safetensors) to start from; null: random ones."""


class PolarSection(Section):
    """The polar bird's-eye view. Its number of rows (ranges) is a quarter of ``radar.samples``."""

    azimuths: int = Field(256, ge=4, multiple_of=4)
    """Columns of the first level. [cells]"""
    heights: int = Field(10, ge=1)
    """Heights of the first level; each further level has half as many, rounded up. [cells]"""
    angle: float = Field(60.0, gt=0, lt=180)
    """Field of view of the columns. [degrees]"""
    range_max: float = Field(103.0, gt=0)
    """Farthest range. [m]"""
    z_range: tuple[float, float] = (-5.0, 3.0)
    """Lowest and highest height. [m]"""


class ImageNeckSection(Section):
    """The attention from pictures to the polar view."""

    column_layers: int = Field(3, ge=1)
    """Layers from image columns to polar rays."""
    row_layers: int = Field(2, ge=1)
    """Layers from the radar to the camera's view, range by range."""
    hidden: int = Field(2048, ge=1)
    """Channels inside the feed-forward layers."""
    chunk: int = Field(8192, ge=1)
    """Query tokens computed at once, to bound memory; dropout masks depend on it."""


class EncoderSection(Section):
    """The deformable encoder of the polar view."""

    layers: int = Field(6, ge=1)
    """Layers."""
    points: int = Field(4, ge=1)
    """Sampling points of a head of attention to a level."""


class DecoderSection(detr_config.DecoderSection):
    queries: int = Field(30, ge=1)
    """Boxes that are looked for."""


class LossSection(detr_config.LossSection):
    code_weights: tuple[float, ...] = Field((1.0,) * 8, min_length=8, max_length=8)
    """Weight of each number of a box: two of the centre, two sizes, height of the centre, third size, sine and cosine
    of yaw."""


class DecodeSection(Section):
    """From the network's outputs to detections."""

    fields_mean: ClassVar[Meaning] = Meaning.SCORE

    max_detections: int = Field(10, ge=1)
    """Detections of a sample at most."""
    center_range: Range = (0.0, -103.0, -5.0, 103.0, 103.0, 3.0)
    """Detections with their centre outside are dropped: x, y, z of the lower and of the upper corner. [m]"""


class EchoFusionConfig(ModelSection):
    """Defaults are EchoFusion on range-time maps and images."""

    family: Literal["echofusion"] = "echofusion"
    """This family."""
    quirks: QuirksSection = QuirksSection()
    mirror: Choice = "official"
    """`official`: azimuths of the camera's view grow to the right and those of boxes to the left, as in the released
    code, whose checkpoints need it; `fixed`: both to the left."""
    camera: bool = True
    """Take pictures too."""
    radar: RadarSection = RadarSection()
    radar_backbone: RadarBackboneSection = RadarBackboneSection()
    image_backbone: ImageBackboneSection = ImageBackboneSection()
    polar: PolarSection = PolarSection()
    channels: int = Field(256, ge=8)
    """Channels of queries and features; a multiple of 4 and of `heads`."""
    heads: int = Field(8, ge=1)
    """Heads of attention."""
    hidden: int = Field(1024, ge=1)
    """Channels inside the feed-forward layers of encoder and decoder."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of values that are dropped in training."""
    checkpointing: Annotated[bool, Meaning.HOW] = True
    """Recompute activations in the backward pass: far less memory, a third more time."""
    image_neck: ImageNeckSection = ImageNeckSection()
    encoder: EncoderSection = EncoderSection()
    decoder: DecoderSection = DecoderSection()
    loss: LossSection = LossSection()
    decode: DecodeSection = DecodeSection()

    @property
    def rows(self) -> int:
        """Number of ranges (rows) of the first level."""
        return self.radar.samples // 4

    @property
    def unwraps(self) -> bool:
        """Whether the columns of all transmitters are gathered (see ``unwrap``) before the radar is embedded."""
        slow_time = self.radar.input in ("rt", "adc")
        return self.radar.input == "rd" or (slow_time and self.quirks.unwrap == "official")

    @model_validator(mode="after")
    def _validate(self) -> EchoFusionConfig:
        radar = self.radar
        if self.channels % self.heads or self.channels % 4:
            raise ValueError(f"channels ({self.channels}) must be a multiple of 4 and of heads ({self.heads})")
        if radar.chirps % radar.doppler_slots:
            raise ValueError("radar.chirps must be a multiple of radar.doppler_slots")
        if len(set(radar.slots)) != len(radar.slots) or not set(radar.slots) <= set(range(radar.doppler_slots)):
            raise ValueError(f"radar.slots must be different ones of 0 to {radar.doppler_slots - 1}")
        ranges = {"radar.points.azimuth_range": radar.points.azimuth_range, "polar.z_range": self.polar.z_range}
        for name, (low, high) in ranges.items():
            if low >= high:
                raise ValueError(f"{name}: {low} is not below {high}")
        return self
