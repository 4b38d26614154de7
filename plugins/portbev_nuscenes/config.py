"""The ``data`` sections of nuScenes: ``nuscenes`` (key frames and sweeps) and ``nuscenes_queue`` (queues of frames)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from portbev.config.data import CommonData
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
