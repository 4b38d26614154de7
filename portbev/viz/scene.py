"""What is drawn: pictures, points, annotations and predictions of one sample.

Boxes are rows [x y z dx dy dz yaw vx vy] (see :mod:`portbev.boxes`) in the global frame; RADIal's is the radar's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CAMERAS = (
    ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
    ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"),
)
"""The cameras as they are laid out: rows of a picture."""


@dataclass(frozen=True)
class Camera:
    """``image`` (H, W, 3) RGB, ``intrinsic`` (3, 3), ``global2camera`` (4, 4)."""

    channel: str
    image: NDArray[np.uint8]
    intrinsic: Array
    global2camera: Array


@dataclass(frozen=True)
class Objects:
    """``boxes`` (n, 9) in the global frame, ``labels`` (n,) into ``DETECTION_CLASSES``, ``scores`` (n,)."""

    boxes: Array
    labels: NDArray[np.int64]
    scores: Array

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, score: float) -> Objects:
        """Those with at least this score, the best last, so that they are drawn on top."""
        kept = np.flatnonzero(self.scores >= score)
        kept = kept[np.argsort(self.scores[kept], kind="stable")]
        return Objects(self.boxes[kept], self.labels[kept], self.scores[kept])


@dataclass(frozen=True)
class View:
    """One sample. ``points`` (n, 3) lidar in the ego frame; ``global2ego`` (4, 4) at the lidar's key frame.

    ``truth``: annotations of the ten classes with at least one lidar or radar point, as the evaluation counts them.
    """

    token: str
    scene: str
    cameras: dict[str, Camera]
    points: Array
    global2ego: Array
    truth: Objects
    found: Objects


@dataclass(frozen=True)
class AzimuthMap:
    """What the radar sees: ``amplitude`` (ranges, azimuths), ``azimuth`` (azimuths,) degrees to the left, ascending;
    ranges are even up to ``reach`` metres.
    """

    amplitude: Array
    azimuth: Array
    reach: float


@dataclass(frozen=True)
class RadialView:
    """One sample of a camera and a radar, all in the radar's frame. The picture is without the lens's distortion.

    ``camera`` and ``radar`` are None where the data have no picture or no map; the radar sees ``reach`` metres.
    """

    token: str
    camera: Camera | None
    radar: AzimuthMap | None
    reach: float
    truth: Objects
    found: Objects
