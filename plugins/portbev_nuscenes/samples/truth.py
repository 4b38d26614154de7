"""Ground truth of a sample for training: boxes in the network's frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.boxes import extents_from_wlh
from portbev.geometry import inverse_pose, matrix_quaternion, quaternion_product, quaternion_yaw, transform
from portbev_nuscenes.classes import CATEGORY_TO_CLASS, DETECTION_CLASSES


class Keep(NamedTuple):
    """Which boxes of a known class are trained on.

    Attributes:
        with_points: only those with a lidar or radar point inside.
        area: (x, y, z, x, y, z) lowest and highest in the network's frame; only centres strictly inside in x and y.
            None: everywhere.
    """

    with_points: bool = True
    area: tuple[float, ...] | None = None

    def __call__(
        self, labels: NDArray[np.int64], points: NDArray[np.int64], centres: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """(n,) of labels (n,), numbers of points (n,) and centres (n, 3) in the network's frame."""
        kept = labels >= 0
        if self.with_points:
            kept &= points > 0
        if self.area is not None:
            low, high = np.array(self.area).reshape(2, 3)[:, :2]
            kept &= ((centres[:, :2] > low) & (centres[:, :2] < high)).all(1)
        return kept


SEEN = Keep()
"""Boxes that a sensor has seen, at any distance."""


def category_labels(categories: list[str]) -> NDArray[np.int64]:
    """Label of each category name, -1 for one that belongs to no detection class."""
    known = {name: DETECTION_CLASSES.index(label) for name, label in CATEGORY_TO_CLASS.items()}
    return np.array([known.get(name, -1) for name in categories], np.int64)


def ground_truth(
    frame2global: ArrayLike,
    labels: NDArray[np.int64],
    translation: NDArray[np.float64],
    size: NDArray[np.float64],
    rotation: NDArray[np.float64],
    velocity: NDArray[np.float64],
    points: NDArray[np.int64],
    keep: Keep = SEEN,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (m, 9) [x y z dx dy dz yaw vx vy] and labels (m,) in the network's frame.

    Kept are boxes of a known class (label >= 0) that ``keep`` lets pass: by default those with at least one lidar or
    radar point, at any distance. An unknown velocity (NaN) becomes 0.

    Args:
        frame2global: (4, 4) pose of the network's frame: BEVDepth's mean ego, BEVFormer's LIDAR_TOP.
        labels: (n,). translation, velocity: (n, 3) global frame. size: (n, 3) width, length, height. rotation: (n, 4).
        points: (n,) lidar and radar points inside.
        keep: which boxes are kept.
    """
    back = inverse_pose(frame2global)
    centres = transform(back, translation)
    kept = keep(labels, points, centres)
    turned = quaternion_product(matrix_quaternion(back), rotation[kept])
    speed = np.nan_to_num(velocity[kept], nan=0.0) @ back[:3, :3].T
    boxes = np.concatenate(
        [centres[kept], extents_from_wlh(size[kept]), quaternion_yaw(turned)[:, None], speed[:, :2]], 1
    )
    return boxes, labels[kept]
