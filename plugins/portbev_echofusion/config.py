"""The ``model`` section of an EchoFusion configuration."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from portbev.config.quirks import Choice, Quirks
from portbev.config.schema import ModelSection, Section

Range = tuple[float, float, float, float, float, float]
LEVELS = 3
"""Maps of the pyramids; each has half the rows and half the azimuths of the one before."""


class QuirksSection(Quirks):
    """Where the original does something other than what was meant, and checkpoints were trained with it.

    ``quirks: official`` and ``quirks: fixed`` stand for all of them. The camera's mirror has a switch of its own.
    """

    unwrap: Choice = "official"  # slow time is de-interleaved as if it were Doppler (rt, adc); fixed: Doppler alone is
    grid: Choice = "official"  # polar cells are shifted alike on all levels; fixed: by half a cell of each
    sampling: Choice = "official"  # image rays span as many metres as they have cells, columns are stretched
    visibility: Choice = "official"  # seen: all heights, without a look at depth and rows; fixed: each height by itself
    calibration: Choice = "official"  # of the batch's first sample, for all of them
    heading: Choice = "official"  # relative to atan2(x, y) in place of the azimuth atan2(y, x)


class PointsSection(Section):
    """How points become a map: per cell of range and azimuth, the largest of learned features of its points."""

    channels: int = Field(64, ge=1)
    azimuths: int = Field(256, ge=4)  # cells of ``azimuth_range``
    azimuth_range: tuple[float, float] = (-75.0, 75.0)  # degrees


class RadarSection(Section):
    """What the network takes of the radar. Sizes are RADIal's."""

    input: Literal["rt", "rd", "ra", "adc", "pc"] = "rt"
    samples: int = Field(512, ge=16, multiple_of=16)  # of a chirp: rows of the radar's maps
    chirps: int = Field(256, ge=4)  # columns of rt, rd and adc
    azimuths: int = Field(751, ge=1)  # columns of ra
    receivers: int = Field(16, ge=1)
    doppler_slots: int = Field(16, ge=1)
    slots: tuple[int, ...] = (0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)  # of the transmitters
    log: bool = False  # log(1 + .) of magnitudes (rt, ra); the original takes them as they are
    precision: Literal["complex64", "complex128"] = "complex64"  # of the signal chain where batches hold raw samples
    embedded: int = Field(64, ge=1)  # channels that the radar's backbone sees (rt, rd, adc)
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
    """The polar bird's-eye view. It has a quarter as many rows (of range) as the radar has samples."""

    azimuths: int = Field(256, ge=4, multiple_of=4)  # columns of the first level
    heights: int = Field(10, ge=1)  # of the first level; each further one has half as many, rounded up
    angle: float = Field(60.0, gt=0, lt=180)  # degrees that the columns span
    range_max: float = Field(103.0, gt=0)  # metres
    z_range: tuple[float, float] = (-5.0, 3.0)  # metres


class ImageNeckSection(Section):
    column_layers: int = Field(3, ge=1)  # image columns to polar rays
    row_layers: int = Field(2, ge=1)  # radar to camera, range by range
    hidden: int = Field(2048, ge=1)
    chunk: int = Field(8192, ge=1)  # query tokens that attend at once: bounds memory; dropout masks depend on it


class EncoderSection(Section):
    layers: int = Field(6, ge=1)
    points: int = Field(4, ge=1)


class DecoderSection(Section):
    layers: int = Field(6, ge=1)
    queries: int = Field(30, ge=1)
    points: int = Field(4, ge=1)


class LossSection(Section):
    class_weight: float = Field(2.0, ge=0)
    box_weight: float = Field(0.25, ge=0)
    class_cost: float = Field(2.0, ge=0)
    box_cost: float = Field(0.25, ge=0)
    code_weights: tuple[float, ...] = Field((1.0,) * 8, min_length=8, max_length=8)


class DecodeSection(Section):
    max_detections: int = Field(10, ge=1)
    center_range: Range = (0.0, -103.0, -5.0, 103.0, 103.0, 3.0)


class EchoFusionConfig(ModelSection):
    """Defaults are EchoFusion on range-time maps and images."""

    family: Literal["echofusion"] = "echofusion"
    quirks: QuirksSection = QuirksSection()
    # Azimuths of the camera's view grow to the right, those of boxes to the left: in the released code the view is
    # mirrored against what it is trained to find. Checkpoints need "official".
    mirror: Choice = "official"
    camera: bool = True
    radar: RadarSection = RadarSection()
    radar_backbone: RadarBackboneSection = RadarBackboneSection()
    image_backbone: ImageBackboneSection = ImageBackboneSection()
    polar: PolarSection = PolarSection()
    channels: int = Field(256, ge=8)
    heads: int = Field(8, ge=1)
    hidden: int = Field(1024, ge=1)  # of the head's feed-forward layers
    dropout: float = Field(0.1, ge=0, lt=1)
    checkpointing: bool = True  # compute activations again in the backward pass: much less memory, a third more time
    image_neck: ImageNeckSection = ImageNeckSection()
    encoder: EncoderSection = EncoderSection()
    decoder: DecoderSection = DecoderSection()
    loss: LossSection = LossSection()
    decode: DecodeSection = DecodeSection()

    @property
    def rows(self) -> int:
        """Ranges of the first level."""
        return self.radar.samples // 4

    @property
    def unwraps(self) -> bool:
        """Whether the transmitters' columns are gathered before the radar is embedded."""
        slow_time = self.radar.input in ("rt", "adc")
        return self.radar.input == "rd" or (slow_time and self.quirks.unwrap == "official")

    @model_validator(mode="after")
    def _fits(self) -> EchoFusionConfig:
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
