"""The ``data`` section: one schema for each kind of data.

``data.kind`` says which one holds; ``nuscenes`` where it is left out. A new kind is a subclass of :class:`CommonData`
and a member of :data:`DataSection`; :func:`portbev.data.build_dataset` says who reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from portbev.config.section import Section

Triple = tuple[float, float, float]


class ImageAug(Section):
    """Image augmentation in training (BEVDepth's ida); evaluation takes the middle of it."""

    final_size: tuple[int, int] = (256, 704)  # (height, width) of the network's input
    source_size: tuple[int, int] = (900, 1600)  # (height, width) of the files
    resize: tuple[float, float] = (0.386, 0.55)
    rotate: tuple[float, float] = (-5.4, 5.4)  # degrees
    flip: bool = True
    bottom_crop: tuple[float, float] = (0.0, 0.0)  # share of the height
    mean: Triple = (123.675, 116.28, 103.53)
    std: Triple = (58.395, 57.12, 57.375)
    reverse_channels: bool = True  # quirk of the original: RGB files are fed as BGR


class BevAug(Section):
    """Augmentation of the bird's-eye view (BEVDepth's bda)."""

    rotate: tuple[float, float] = (-22.5, 22.5)  # degrees
    scale: tuple[float, float] = (0.95, 1.05)
    flip_x: float = Field(0.5, ge=0, le=1)
    flip_y: float = Field(0.5, ge=0, le=1)


class CommonData(Section):
    """What every kind of data has."""

    kind: str
    root: str | None = None  # a folder, or "synthetic:?scenes=40&seed=1": generated on first use
    train_split: str = "train"
    eval_split: str = "val"
    workers: int = Field(4, ge=0)
    eval_stride: int = Field(1, ge=1)  # evaluate every n-th sample during training only
    augment: bool = True


class NuscenesData(CommonData):
    """nuScenes: key frames with sweeps and lidar depth, in the ego frame."""

    kind: Literal["nuscenes"] = "nuscenes"
    version: str = "v1.0-trainval"
    cameras: tuple[str, ...] = (
        "CAM_FRONT_LEFT",
        "CAM_FRONT",
        "CAM_FRONT_RIGHT",
        "CAM_BACK_LEFT",
        "CAM_BACK",
        "CAM_BACK_RIGHT",
    )
    sweeps: tuple[int, ...] = (0,)  # key frames back in time, 0 = the current one: (0, 1) is the original's 2key
    depth_labels: bool = True
    image: ImageAug = ImageAug()
    bev: BevAug = BevAug()
    cbgs: bool = False  # class-balanced grouping and sampling of the training split


class NuscenesQueueData(CommonData):
    """nuScenes: queues of key frames within a scene with CAN-bus data, in the lidar frame."""

    kind: Literal["nuscenes_queue"] = "nuscenes_queue"
    version: str = "v1.0-trainval"
    cameras: tuple[str, ...] = (
        "CAM_FRONT",
        "CAM_FRONT_RIGHT",
        "CAM_FRONT_LEFT",
        "CAM_BACK",
        "CAM_BACK_LEFT",
        "CAM_BACK_RIGHT",
    )
    queue_length: int = Field(3, ge=1)  # frames of a training sample, the current one included
    scale: float = Field(0.5, gt=0)  # of the images, before padding
    pad_divisor: int = Field(32, ge=1)  # height and width are padded to multiples of it
    mean: Triple = (123.675, 116.28, 103.53)  # in the order of the channels that the network sees
    std: Triple = (58.395, 57.12, 57.375)
    bgr: bool = False  # the network sees BGR
    photometric: bool = True  # distort the colours of training images
    grid_mask: bool = True  # mask stripes of training images
    point_cloud_range: tuple[float, float, float, float, float, float] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    use_valid_flag: bool = True  # train on boxes with a lidar or radar point only
    can_bus: Literal["auto", "files", "poses"] = "auto"  # from the CAN bus expansion, or derived from ego poses
    quirks: Literal["official", "fixed"] = "official"  # official: motion of the CAN bus message after the sample


class RadialData(CommonData):
    """RADIal: a radar's samples and a camera, in the radar frame (x forward, y left, z up)."""

    kind: Literal["radial"] = "radial"
    eval_split: str = "test"
    layout: Literal["auto", "raw", "converted"] = "auto"  # raw recordings, or EchoFusion's KITTI-like layout
    boxes: str | None = None  # the re-annotated boxes where raw recordings lack radial_bbox_labels.csv
    tolerance: int = Field(20_000, ge=0)  # microseconds between a radar frame and the other sensors
    radar: Literal["rt", "ra", "rd", "adc", "pc", "none"] = "rt"  # what the model takes of the radar
    signal_on: Literal["device", "loader"] = "device"  # who computes it; device: batches hold the chips' samples
    signal_precision: Literal["complex64", "complex128"] = "complex64"  # of the loader's signal chain
    camera: bool = True  # load the pictures
    scale: float = Field(1.0, gt=0)  # of the pictures, before padding
    pad_divisor: int = Field(32, ge=1)  # height and width are padded to multiples of it
    mean: Triple = (103.53, 116.28, 123.675)  # in the order of the channels that the network sees
    std: Triple = (1.0, 1.0, 1.0)
    bgr: bool = True  # the network sees BGR
    photometric: bool = True  # distort the colours of training images
    grid_mask: bool = True  # mask stripes of training images
    x_range: tuple[float, float] = (0.0, 103.0)  # metres; training boxes lie strictly inside
    y_range: tuple[float, float] = (-103.0, 103.0)
    filter_empty: bool = True  # train on another sample in place of one without boxes
    repeat: int = Field(1, ge=1)  # times that an epoch takes each training sample


def kind_of(section: Any) -> str:
    """The value of ``kind`` in a ``data`` section as it is written or built."""
    if isinstance(section, Mapping):
        return str(section.get("kind", "nuscenes"))
    return str(getattr(section, "kind", "nuscenes"))


DataSection = Annotated[
    Annotated[NuscenesData, Tag("nuscenes")]
    | Annotated[NuscenesQueueData, Tag("nuscenes_queue")]
    | Annotated[RadialData, Tag("radial")],
    Discriminator(kind_of),
]
"""Any of the kinds."""
