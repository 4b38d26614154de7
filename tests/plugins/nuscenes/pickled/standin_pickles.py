"""Names and values of pickles as mmdet3d's versions and BEVDepth's script write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from portbev_nuscenes.tables.index import Index

VERSION = "v1.0-mini"
MODULES = {"0": "mmdet3d.core.bbox.structures.lidar_box3d", "1": "mmdet3d.structures.bbox_3d.lidar_box3d"}
BoxClass = Callable[[Any], Any]


def lidar_boxes(module: str, name: str = "LiDARInstance3DBoxes") -> BoxClass:
    """A class with mmdet3d's name and attributes, for as long as it is pickled."""

    def init(self: Any, tensor: Any) -> None:
        self.tensor, self.box_dim, self.with_yaw = tensor, tensor.shape[-1], True

    return type(name, (), {"__init__": init, "__module__": module})


def quaternions(index: Index, sample: int, channel: str) -> tuple[Any, Any, Any, Any, int]:
    """Calibration and ego pose of a key frame: translation, rotation, translation, rotation; and its row."""
    frame = int(index.key_frames[sample, index.channel(channel)])
    calibration = int(index.frame_calibration[frame])
    return (
        index.calibration_translation[calibration].tolist(),
        index.calibration_rotation[calibration].tolist(),
        index.frame_translation[frame].tolist(),
        index.frame_rotation[frame].tolist(),
        frame,
    )


def by_time(index: Index, split: np.ndarray) -> list[int]:
    return [int(sample) for sample in split[np.argsort(index.sample_time[split], kind="stable")]]
