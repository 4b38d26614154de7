"""Ground truth of a sample: boxes in the network's frame."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.boxes import extents_from_wlh
from portbev.geometry import inverse_pose, matrix_quaternion, quaternion_product, quaternion_yaw, transform
from portbev_nuscenes.classes import Categories


class Keep(NamedTuple):
    """Filter: the boxes of detection classes that are trained on.

    Attributes:
        with_points: keep only boxes with enough lidar and radar points inside.
        area: (x_min, y_min, z_min, x_max, y_max, z_max) in the network's frame: keep only boxes whose centre is
            strictly inside in x and y. None: keep all.
    """

    with_points: bool = True
    area: tuple[float, ...] | None = None

    def __call__(
        self, labels: NDArray[np.int64], points: NDArray[Any], centres: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """(n,) mask of boxes.

        Args:
            labels: (n,). centres: (n, 3) in the network's frame [m].
            points: (n,) whether a box has enough points (see :func:`portbev_nuscenes.classes.counts`); numbers of
                points do as well, of which 0 is not enough.
        """
        kept = labels >= 0
        if self.with_points:
            kept &= points > 0
        if self.area is not None:
            low, high = np.array(self.area).reshape(2, 3)[:, :2]
            kept &= ((centres[:, :2] > low) & (centres[:, :2] < high)).all(1)
        return kept


SEEN = Keep()
"""Keeps boxes with a lidar or radar point inside, at any distance."""


def category_labels(categories: list[str]) -> NDArray[np.int64]:
    """(n,) label of each of nuScenes' own category names, -1 for one without a detection class."""
    return Categories().labels(categories)


def ground_truth(
    frame2global: ArrayLike,
    labels: NDArray[np.int64],
    translation: NDArray[np.float64],
    size: NDArray[np.float64],
    rotation: NDArray[np.float64],
    velocity: NDArray[np.float64],
    points: NDArray[Any],
    keep: Keep = SEEN,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (m, 9) [x y z dx dy dz yaw vx vy] and labels (m,) in the network's frame.

    Only boxes of a detection class (label >= 0) that pass the filter ``keep`` are returned: by default those with at
    least one lidar or radar point, at any distance. An unknown velocity (NaN) becomes 0.

    Args:
        frame2global: (4, 4) pose of the network's frame: BEVDepth's mean ego, BEVFormer's LIDAR_TOP.
        labels: (n,). translation, velocity: (n, 3) global frame. size: (n, 3) width, length, height. rotation: (n, 4).
        points: (n,) whether there are enough lidar and radar points inside, or their number.
        keep: filter on the boxes.
    """
    global2frame = inverse_pose(frame2global)
    centres = transform(global2frame, translation)
    kept = keep(labels, points, centres)
    quaternion = quaternion_product(matrix_quaternion(global2frame), rotation[kept])
    frame_velocity = np.nan_to_num(velocity[kept], nan=0.0) @ global2frame[:3, :3].T
    boxes = np.concatenate(
        [centres[kept], extents_from_wlh(size[kept]), quaternion_yaw(quaternion)[:, None], frame_velocity[:, :2]], 1
    )
    return boxes, labels[kept]
