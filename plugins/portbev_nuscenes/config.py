"""The ``data`` sections of nuScenes: ``nuscenes`` (key frames and sweeps) and ``nuscenes_queue`` (queues of frames)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from portbev.config.data import CommonData
from portbev.config.section import Section, flatten
from portbev_nuscenes.classes import Categories

Triple = tuple[float, float, float]
Pair = tuple[float, float]


def _rising(pair: Pair) -> Pair:
    if pair[0] > pair[1]:
        raise ValueError("the lower end of a range comes first")
    return pair


def _positive(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if min(values) <= 0:
        raise ValueError("every value must be above 0")
    return values


class ImageAug(Section):
    """Image augmentation in training (BEVDepth's ida); evaluation takes the middle of it."""

    final_size: tuple[int, int] = (256, 704)
    """Height and width of the network's input. [pixels]"""
    source_size: tuple[int, int] = (900, 1600)
    """Height and width of the files. [pixels]"""
    resize: Pair = (0.386, 0.55)
    """Least and greatest scale of a picture."""
    rotate: Pair = (-5.4, 5.4)
    """Least and greatest rotation of a picture. [degrees]"""
    flip: bool = True
    """Mirror half of the pictures."""
    bottom_crop: Pair = (0.0, 0.0)
    """Least and greatest share of the height that is cut off below."""
    mean: Triple = (123.675, 116.28, 103.53)
    """Mean of each channel that is subtracted."""
    std: Triple = (58.395, 57.12, 57.375)
    """Standard deviation of each channel that is divided by."""
    reverse_channels: bool = True
    """Quirk of the original: RGB files are fed as BGR."""

    _sizes = field_validator("final_size", "source_size", "resize", "std")(_positive)
    _ranges = field_validator("resize", "rotate", "bottom_crop")(_rising)


class BevAug(Section):
    """Augmentation of the bird's-eye view (BEVDepth's bda)."""

    rotate: Pair = (-22.5, 22.5)
    """Least and greatest rotation. [degrees]"""
    scale: Pair = (0.95, 1.05)
    """Least and greatest scale."""
    flip_x: float = Field(0.5, ge=0, le=1)
    """Share of samples that are mirrored along x."""
    flip_y: float = Field(0.5, ge=0, le=1)
    """Share of samples that are mirrored along y."""

    _sizes = field_validator("scale")(_positive)
    _ranges = field_validator("rotate", "scale")(_rising)


class Tables(CommonData):
    """What both kinds share: the tables of a version, and which of their boxes count."""

    version: str = Field("v1.0-trainval", min_length=1)
    """Version of the tables, such as `v1.0-mini`."""
    cameras: tuple[str, ...]
    """Cameras, in the order in which the model gets them."""
    categories: dict[str, str] = Field(default_factory=dict)
    """Category of the tables -> detection class, for names that are not nuScenes' own; ``ignore``: of no class."""
    min_points: int = Field(1, ge=0)
    """Lidar and radar points that a box needs to be trained on, drawn and scored; a negative number in the tables means
    unknown and counts as enough. 1 is the official benchmark's rule, 0 keeps every box."""
    lidar_values: int = Field(5, ge=3)
    """float32 values of a point in the lidar files; the first three are x, y, z in metres."""

    @model_validator(mode="before")
    @classmethod
    def _names_with_dots(cls, raw: Any) -> Any:
        """On the command line ``data.categories.my.car=car`` arrives as nested sections."""
        if isinstance(raw, Mapping) and isinstance(raw.get("categories"), Mapping):
            return {**raw, "categories": flatten(dict(raw["categories"])) if raw["categories"] else {}}
        return raw

    @field_validator("categories")
    @classmethod
    def _of_known_classes(cls, mapping: dict[str, str]) -> dict[str, str]:
        Categories(mapping)
        return mapping

    @field_validator("cameras")
    @classmethod
    def _each_once(cls, cameras: tuple[str, ...]) -> tuple[str, ...]:
        if not cameras:
            raise ValueError("at least one camera is needed")
        doubled = [name for name, count in Counter(cameras).items() if count > 1]
        if doubled:
            raise ValueError(f"each camera once; doubled: {', '.join(doubled)}")
        return cameras


class NuscenesData(Tables):
    """nuScenes: key frames with sweeps and lidar depth, in the ego frame."""

    kind: Literal["nuscenes"] = "nuscenes"
    """This kind."""
    cameras: tuple[str, ...] = (
        "CAM_FRONT_LEFT",
        "CAM_FRONT",
        "CAM_FRONT_RIGHT",
        "CAM_BACK_LEFT",
        "CAM_BACK",
        "CAM_BACK_RIGHT",
    )
    """Cameras, in the order in which the model gets them."""
    sweeps: tuple[int, ...] = (0,)
    """Key frames back in time, 0 = the current one: `[0, 1]` is the original's 2key. [key frames]"""
    depth_labels: bool = True
    """Give the lidar's depth, which BEVDepth learns from."""
    image: ImageAug = ImageAug()
    bev: BevAug = BevAug()
    cbgs: bool = False
    """Class-balanced grouping and sampling of the training split (Zhu et al. 2019)."""

    @field_validator("sweeps")
    @classmethod
    def _back_in_time(cls, sweeps: tuple[int, ...]) -> tuple[int, ...]:
        if sweeps[:1] != (0,) or any(later <= earlier for earlier, later in pairwise(sweeps)):
            raise ValueError(
                "key frames back in time: 0, the current one, comes first, then rising numbers as in [0,1]"
            )
        return sweeps


class NuscenesQueueData(Tables):
    """nuScenes: queues of key frames within a scene with CAN-bus data, in the lidar frame."""

    kind: Literal["nuscenes_queue"] = "nuscenes_queue"
    """This kind."""
    cameras: tuple[str, ...] = (
        "CAM_FRONT",
        "CAM_FRONT_RIGHT",
        "CAM_FRONT_LEFT",
        "CAM_BACK",
        "CAM_BACK_LEFT",
        "CAM_BACK_RIGHT",
    )
    """Cameras, in the order in which the model gets them."""
    queue_length: int = Field(3, ge=1)
    """Frames of a training sample, the current one included. [key frames]"""
    scale: float = Field(0.5, gt=0)
    """Scale of the pictures, before padding."""
    pad_divisor: int = Field(32, ge=1)
    """Height and width are padded to multiples of it. [pixels]"""
    mean: Triple = (123.675, 116.28, 103.53)
    """Mean of each channel that is subtracted, in the order of the channels that the network sees."""
    std: Triple = (58.395, 57.12, 57.375)
    """Standard deviation of each channel that is divided by."""
    bgr: bool = False
    """The network sees BGR."""
    photometric: bool = True
    """Distort the colours of training pictures."""
    grid_mask: bool = True
    """Mask stripes of training pictures."""
    point_cloud_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    """Boxes are trained on whose centre lies inside: x, y, z of the lower and of the upper corner. [m]"""
    use_valid_flag: bool = True
    """Leave out boxes without points; false trains on them too, whatever `min_points` says."""
    can_bus: Literal["auto", "files", "poses"] = "auto"
    """The vehicle's motion: from the CAN bus expansion (`files`), derived from its poses, or what there is (`auto`)."""
    quirks: Literal["official", "fixed"] = "official"
    """`official`: motion is that of the CAN bus message after the sample; `fixed`: of the one before."""

    _std = field_validator("std")(_positive)

    @field_validator("point_cloud_range")
    @classmethod
    def _encloses_something(cls, area: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in zip(area[:3], area[3:], strict=True)):
            raise ValueError("[x_min, y_min, z_min, x_max, y_max, z_max], each minimum below its maximum")
        return area
