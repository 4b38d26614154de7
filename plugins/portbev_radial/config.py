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
    eval_split: Annotated[str, Meaning.SCORE] = Field("test", min_length=1)
    layout: Literal["auto", "raw", "converted"] = "auto"  # raw recordings, or EchoFusion's KITTI-like layout
    # the re-annotated boxes, where raw recordings lack radial_bbox_labels.csv; the data's digest says what they are
    boxes: Annotated[Place | None, Meaning.NEITHER] = None
    tolerance: int = Field(20_000, ge=0)  # microseconds between a radar frame and the other sensors
    radar: Literal["rt", "ra", "rd", "adc", "pc", "none"] = "rt"  # what the model takes of the radar
    # who computes the radar's maps; device: batches hold the chips' samples
    signal_on: Annotated[Literal["device", "loader"], Meaning.HOW] = "device"
    signal_precision: Annotated[ComplexType, Meaning.HOW] = "complex64"  # of the loader's signal chain
    camera: bool = True  # load the pictures
    scale: float = Field(1.0, gt=0)  # of the pictures, before padding
    pad_divisor: int = Field(32, ge=1)  # height and width are padded to multiples of it
    mean: Triple = (103.53, 116.28, 123.675)  # in the order of the channels that the network sees
    std: Triple = (1.0, 1.0, 1.0)
    bgr: bool = True  # the network sees BGR
    photometric: bool = True  # distort the colours of training images
    grid_mask: bool = True  # mask stripes of training images
    x_range: tuple[float, float] = (0.0, 103.0)  # metres; boxes that are trained on and scored lie strictly inside
    y_range: tuple[float, float] = (-103.0, 103.0)
    filter_empty: bool = True  # train on another sample in place of one without boxes
    repeat: int = Field(1, ge=1)  # times that an epoch takes each training sample

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
