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

    unwrap: Choice = "official"  # chirps of rt and adc are unwrapped as if they were Doppler bins; fixed: rd only
    grid: Choice = "official"  # cell centres have the same offset on all levels; fixed: half a cell of each level
    sampling: Choice = "official"  # image rays span as many metres as they have cells, and columns are stretched
    visibility: Choice = "official"  # all heights or none, by image column; fixed: each height, by depth and row too
    calibration: Choice = "official"  # every sample uses the calibration of the batch's first one
    heading: Choice = "official"  # relative to atan2(x, y) instead of the azimuth atan2(y, x)


class PointsSection(Section):
    """The map of a point cloud: each cell of range and azimuth has the maximum of its points' learned features."""

    channels: int = Field(64, ge=1)
    azimuths: int = Field(256, ge=4)  # number of cells in azimuth_range
    azimuth_range: tuple[float, float] = (-75.0, 75.0)  # degrees


class RadarSection(Section):
    """The radar data that the network takes. The default sizes are those of RADIal's radar."""

    input: Literal["rt", "rd", "ra", "adc", "pc"] = "rt"
    samples: int = Field(512, ge=16, multiple_of=16)  # samples of a chirp, which are the rows of radar maps
    chirps: int = Field(256, ge=4)  # chirps of a frame, which are the columns of rt, rd and adc
    azimuths: int = Field(751, ge=1)  # columns of ra
    receivers: int = Field(16, ge=1)
    doppler_slots: int = Field(16, ge=1)
    slots: tuple[int, ...] = (0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)  # Doppler slot of each transmitter
    log: bool = False  # take log(1 + magnitude) in rt and ra; the original does not
    # of the signal chain, where batches hold raw samples
    precision: Annotated[Literal["complex64", "complex128"], Meaning.HOW] = "complex64"
    embedded: int = Field(64, ge=1)  # input channels of the radar backbone (rt, rd, adc)
    points: PointsSection = PointsSection()


class RadarBackboneSection(Section):
    depth: Literal[18, 34, 50, 101] = 50
    base_channels: int = Field(64, ge=1)
    zero_init_residual: bool = True


class ImageBackboneSection(Section):
    depth: Literal[18, 34, 50, 101] = 50
    base_channels: int = Field(64, ge=1)
    frozen_stages: int = Field(1, ge=-1, le=4)
    zero_init_residual: bool = True
    weights: str | None = None  # torchvision ResNet weights (.pth or .safetensors) to start from


class PolarSection(Section):
    """The polar bird's-eye view. Its number of rows (ranges) is a quarter of ``radar.samples``."""

    azimuths: int = Field(256, ge=4, multiple_of=4)  # columns of the first level
    heights: int = Field(10, ge=1)  # of the first level; each further level has half as many, rounded up
    angle: float = Field(60.0, gt=0, lt=180)  # field of view of the columns, degrees
    range_max: float = Field(103.0, gt=0)  # metres
    z_range: tuple[float, float] = (-5.0, 3.0)  # metres


class ImageNeckSection(Section):
    column_layers: int = Field(3, ge=1)  # from image columns to polar rays
    row_layers: int = Field(2, ge=1)  # from the radar to the camera's view, range by range
    hidden: int = Field(2048, ge=1)
    chunk: int = Field(8192, ge=1)  # query tokens computed at once, to bound memory; dropout masks depend on it


class EncoderSection(Section):
    layers: int = Field(6, ge=1)
    points: int = Field(4, ge=1)


class DecoderSection(detr_config.DecoderSection):
    queries: int = Field(30, ge=1)


class LossSection(detr_config.LossSection):
    code_weights: tuple[float, ...] = Field((1.0,) * 8, min_length=8, max_length=8)


class DecodeSection(Section):
    fields_mean: ClassVar[Meaning] = Meaning.SCORE

    max_detections: int = Field(10, ge=1)
    center_range: Range = (0.0, -103.0, -5.0, 103.0, 103.0, 3.0)


class EchoFusionConfig(ModelSection):
    """Defaults are EchoFusion on range-time maps and images."""

    family: Literal["echofusion"] = "echofusion"
    quirks: QuirksSection = QuirksSection()
    # In the released code azimuths of the camera's view grow to the right and those of boxes grow to the left, so that
    # the view is mirrored relative to the boxes. Released checkpoints need "official".
    mirror: Choice = "official"
    camera: bool = True
    radar: RadarSection = RadarSection()
    radar_backbone: RadarBackboneSection = RadarBackboneSection()
    image_backbone: ImageBackboneSection = ImageBackboneSection()
    polar: PolarSection = PolarSection()
    channels: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)
    hidden: int = Field(1024, ge=1)  # channels inside the feed-forward layers of encoder and decoder
    dropout: float = Field(0.1, ge=0, lt=1)
    # recompute activations in the backward pass: far less memory, a third more time
    checkpointing: Annotated[bool, Meaning.HOW] = True
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
