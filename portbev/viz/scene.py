"""The content of a drawing: pictures, lidar points, annotations and predictions of one sample.

Boxes are rows [x y z dx dy dz yaw vx vy] (see :mod:`portbev.boxes`) in the global frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.viz.palette import Classes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A camera's name and its ``image`` (H, W, 3) RGB, ``intrinsic`` (3, 3) and ``global2camera`` (4, 4).

    ``depths`` (n, 3) [u v depth], pixels and metres, are points that are drawn on the picture.
    """

    channel: str
    image: NDArray[np.uint8]
    intrinsic: Array
    global2camera: Array
    depths: Array | None = None


@dataclass(frozen=True)
class Objects:
    """``boxes`` (n, 9) in the global frame, ``labels`` (n,) as indices of the classes, and ``scores`` (n,)."""

    boxes: Array
    labels: NDArray[np.int64]
    scores: Array

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def of(cls, boxes: NDArray[np.floating[Any]], labels: NDArray[np.int64]) -> Objects:
        """Annotations, whose score is 1."""
        return cls(np.asarray(boxes, np.float64).reshape(-1, 9), np.asarray(labels, np.int64), np.ones(len(labels)))

    def above(self, score: float) -> Objects:
        """The objects with at least this score, sorted by rising score, so that the best are drawn on top."""
        kept = np.flatnonzero(self.scores >= score)
        kept = kept[np.argsort(self.scores[kept], kind="stable")]
        return Objects(self.boxes[kept], self.labels[kept], self.scores[kept])


@dataclass(frozen=True)
class View:
    """One sample of a vehicle with cameras around it.

    Attributes:
        cameras: by name.
        layout: rows of camera names as they are arranged in the picture; the panel of a missing camera stays empty.
        points: (n, 3) lidar points in the ego frame.
        global2ego: (4, 4).
        truth: the annotations that the evaluation counts.
        predictions: the detections.
    """

    token: str
    scene: str
    cameras: dict[str, Camera]
    layout: tuple[tuple[str, ...], ...]
    points: Array
    global2ego: Array
    truth: Objects
    predictions: Objects
    classes: Classes
