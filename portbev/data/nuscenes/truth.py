"""Ground truth of a sample for training: boxes in the mean key ego frame. May import: geometry, boxes, classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.boxes import extents_from_wlh
from portbev.data.nuscenes.classes import CATEGORY_TO_CLASS, DETECTION_CLASSES
from portbev.geometry import inverse_pose, matrix_quaternion, quaternion_product, quaternion_yaw, transform


def category_labels(categories: list[str]) -> NDArray[np.int64]:
    """Label of each category name, -1 for one that belongs to no detection class."""
    known = {name: DETECTION_CLASSES.index(label) for name, label in CATEGORY_TO_CLASS.items()}
    return np.array([known.get(name, -1) for name in categories], np.int64)


def ground_truth(
    ego2global: ArrayLike,
    labels: NDArray[np.int64],
    translation: NDArray[np.float64],
    size: NDArray[np.float64],
    rotation: NDArray[np.float64],
    velocity: NDArray[np.float64],
    points: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (m, 9) [x y z dx dy dz yaw vx vy] and labels (m,) in the ego frame.

    Kept are boxes of a known class (label >= 0) with at least one lidar or radar point; they are not cut to a range. An
    unknown velocity (NaN) becomes 0.

    Args:
        ego2global: (4, 4) mean ego pose.
        labels: (n,). translation, velocity: (n, 3) global frame. size: (n, 3) width, length, height. rotation: (n, 4).
        points: (n,) lidar and radar points inside.
    """
    keep = (labels >= 0) & (points > 0)
    back = inverse_pose(ego2global)
    turned = quaternion_product(matrix_quaternion(back), rotation[keep])
    speed = np.nan_to_num(velocity[keep], nan=0.0) @ back[:3, :3].T
    boxes = np.concatenate(
        [
            transform(back, translation[keep]),
            extents_from_wlh(size[keep]),
            quaternion_yaw(turned)[:, None],
            speed[:, :2],
        ],
        1,
    )
    return boxes, labels[keep]
