"""The ``data`` section of RADIal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from portbev.config.data import CommonData
from portbev.config.meaning import Meaning
from portbev.config.section import Place

ComplexType = Literal["complex64", "complex128"]
Triple = tuple[float, float, float]


class RadialData(CommonData):
    """RADIal: a radar's samples and a camera, in the radar frame (x forward, y left, z up)."""

    kind: Literal["radial"] = "radial"
    """This kind."""
    eval_split: Annotated[str, Meaning.SCORE] = Field("test", min_length=1)
    """Name of the split that is evaluated."""
    layout: Literal["auto", "raw", "converted"] = "auto"
    """`raw` recordings, `converted` to EchoFusion's KITTI-like layout, or what there is (`auto`)."""
    boxes: Annotated[Place | None, Meaning.NEITHER] = None
    """File of the re-annotated boxes, where raw recordings lack radial_bbox_labels.csv; the data's digest says what
    they are."""
    tolerance: int = Field(20_000, ge=0)
    """Time between a radar frame and the other sensors at most. [microseconds]"""
    radar: Literal["rt", "ra", "rd", "adc", "pc", "none"] = "rt"
    """What the model takes of the radar: see `model.radar.input`; `none` loads none."""
    signal_on: Annotated[Literal["device", "loader"], Meaning.HOW] = "device"
    """Who computes the radar's maps; `device`: batches hold the chips' samples."""
    signal_precision: Annotated[ComplexType, Meaning.HOW] = "complex64"
    """Numbers of the loader's signal chain."""
    camera: bool = True
    """Load the pictures."""
    scale: float = Field(1.0, gt=0)
    """Scale of the pictures, before padding."""
    pad_divisor: int = Field(32, ge=1)
    """Height and width are padded to multiples of it. [pixels]"""
    mean: Triple = (103.53, 116.28, 123.675)
    """Mean of each channel that is subtracted, in the order of the channels that the network sees."""
    std: Triple = (1.0, 1.0, 1.0)
    """Standard deviation of each channel that is divided by."""
    bgr: bool = True
    """The network sees BGR."""
    photometric: bool = True
    """Distort the colours of training pictures."""
    grid_mask: bool = True
    """Mask stripes of training pictures."""
    x_range: tuple[float, float] = (0.0, 103.0)
    """Boxes that are trained on and scored lie strictly inside, along x. [m]"""
    y_range: tuple[float, float] = (-103.0, 103.0)
    """The same along y. [m]"""
    filter_empty: bool = True
    """Train on another sample in place of one without boxes."""
    repeat: int = Field(1, ge=1)
    """Times that an epoch takes each training sample."""

    @field_validator("x_range", "y_range")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] >= value[1]:
            raise ValueError("a range is [nearest, farthest], the first below the second")
        return value

    @field_validator("std")
    @classmethod
    def _positive(cls, value: Triple) -> Triple:
        if min(value) <= 0:
            raise ValueError("every value must be above 0")
        return value
