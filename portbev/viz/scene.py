"""What is drawn: pictures, points, annotations and predictions of one sample.

Boxes are rows [x y z dx dy dz yaw vx vy] (see :mod:`portbev.boxes`) in the global frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portbev.viz.palette import Classes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """``image`` (H, W, 3) RGB, ``intrinsic`` (3, 3), ``global2camera`` (4, 4)."""

    channel: str
    image: NDArray[np.uint8]
    intrinsic: Array
    global2camera: Array


@dataclass(frozen=True)
class Objects:
    """``boxes`` (n, 9) in the global frame, ``labels`` (n,) into the classes, ``scores`` (n,)."""

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
    """One sample of cameras around a vehicle. ``points`` (n, 3) lidar in the ego frame; ``global2ego`` (4, 4).

    ``layout``: rows of camera names as they are laid out; a camera that is missing leaves its place empty.
    ``truth``: the annotations that the evaluation counts.
    """

    token: str
    scene: str
    cameras: dict[str, Camera]
    layout: tuple[tuple[str, ...], ...]
    points: Array
    global2ego: Array
    truth: Objects
    found: Objects
    classes: Classes
