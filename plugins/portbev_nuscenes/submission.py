"""Detections in the ego frame as nuScenes submission boxes in the global frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.boxes import extents_from_wlh
from portbev.geometry import matrix_quaternion, quaternion_product, transform, yaw_quaternion
from portbev_nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES

if TYPE_CHECKING:
    from portbev.models import Detections

MOVING = 0.2
"""Speed [m/s] above which an object gets the attribute of a moving one."""

# class -> attribute of objects faster than MOVING (_FAST) and of slower ones (_SLOW), as in the original
_FAST = dict.fromkeys(("car", "truck", "construction_vehicle", "bus", "trailer"), "vehicle.moving")
_FAST |= {"motorcycle": "cycle.with_rider", "bicycle": "cycle.with_rider", "pedestrian": "pedestrian.moving"}
_SLOW = dict.fromkeys(("car", "truck", "construction_vehicle", "trailer"), "vehicle.parked")
_SLOW |= {"bus": "vehicle.stopped", "motorcycle": "cycle.without_rider", "bicycle": "cycle.without_rider"}
_SLOW |= {"pedestrian": "pedestrian.standing"}


def _table(attribute_of: dict[str, str]) -> NDArray[np.int64]:
    """(10,) index into ATTRIBUTES of each label, -1 for none."""
    index = {name: i for i, name in enumerate(ATTRIBUTES)}
    return np.array([index.get(attribute_of.get(name, ""), -1) for name in DETECTION_CLASSES], np.int64)


def attribute_of_speed(labels: NDArray[np.int64], fast: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) index into ATTRIBUTES, -1 for none, of objects by label and by whether they are faster than MOVING."""
    chosen: NDArray[np.int64] = np.where(fast, _table(_FAST)[labels], _table(_SLOW)[labels])
    return chosen


@dataclass(frozen=True)
class SubmissionBoxes:
    """n boxes of one sample, global frame.

    Attributes:
        token: sample token.
        translation: (n, 3) centre [m]. size: (n, 3) width, length, height [m]. rotation: (n, 4) quaternion w, x, y, z.
        velocity: (n, 2) [m/s]. label: (n,) index into DETECTION_CLASSES. score: (n,).
        attribute: (n,) index into ATTRIBUTES, -1 for none.
    """

    token: str
    translation: NDArray[np.float64]
    size: NDArray[np.float64]
    rotation: NDArray[np.float64]
    velocity: NDArray[np.float64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    attribute: NDArray[np.int64]

    def rows(self) -> list[dict[str, Any]]:
        """The boxes as the rows of a submission file."""
        return [
            {
                "sample_token": self.token,
                "translation": self.translation[i].tolist(),
                "size": self.size[i].tolist(),
                "rotation": self.rotation[i].tolist(),
                "velocity": self.velocity[i].tolist(),
                "detection_name": DETECTION_CLASSES[self.label[i]],
                "detection_score": float(self.score[i]),
                "attribute_name": ATTRIBUTES[self.attribute[i]] if self.attribute[i] >= 0 else "",
            }
            for i in range(len(self.label))
        ]


def to_submission(detections: Detections, token: str, frame2global: ArrayLike) -> SubmissionBoxes:
    """Submission boxes of one sample; the order is kept.

    Args:
        detections: boxes (n, 9) in the mean key ego frame, z = centre.
        token: sample token.
        frame2global: (4, 4) pose of the frame that the boxes are in.
    """
    boxes, labels = np.asarray(detections.boxes, np.float64).reshape(-1, 9), np.asarray(detections.labels, np.int64)
    pose = np.asarray(frame2global, np.float64)
    velocity = np.concatenate([boxes[:, 7:9], np.zeros((len(boxes), 1))], 1)
    fast = np.hypot(boxes[:, 7], boxes[:, 8]) > MOVING
    return SubmissionBoxes(
        token=token,
        translation=transform(pose, boxes[:, :3]),
        size=extents_from_wlh(boxes[:, 3:6]),
        rotation=quaternion_product(matrix_quaternion(pose), yaw_quaternion(boxes[:, 6])),
        velocity=(velocity @ pose[:3, :3].T)[:, :2],
        label=labels,
        score=np.asarray(detections.scores, np.float64),
        attribute=attribute_of_speed(labels, fast),
    )
