"""Settings of the nuScenes detection evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from portbev_nuscenes.classes import CLASS_RANGE, DETECTION_CLASSES, EVALUATION_CLASSES, MAX_BOXES_PER_SAMPLE

TP_ERRORS: Final = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")
"""The true-positive errors: ATE [m], ASE [1 - IoU], AOE [rad], AVE [m/s], AAE [1 - accuracy]."""

UNDEFINED_ERRORS: Final[Mapping[str, tuple[str, ...]]] = {
    "traffic_cone": ("attr_err", "vel_err", "orient_err"),
    "barrier": ("attr_err", "vel_err"),
}
"""Class -> errors that are undefined for it: NaN in its row, and left out of the averages."""

RECALL_POINTS: Final = 101
"""Curves are sampled at this many recalls from 0 to 1."""


@dataclass(frozen=True)
class DetectionConfig:
    """Settings of the evaluation; the defaults are nuScenes' ``detection_cvpr_2019``.

    Attributes:
        class_range: class -> horizontal distance from the ego in metres below which boxes are evaluated (exclusive).
        min_distance: horizontal distance in metres from which on boxes are evaluated (inclusive). 0 in the official
            evaluation; distance bands use it.
        distance_thresholds: centre distances in metres below which a prediction matches; AP is averaged over them.
        tp_threshold: the distance threshold whose matches give the true-positive errors.
        min_recall, min_precision: the part of the curve below these is ignored.
        max_boxes_per_sample: more predictions than this in a sample are an error.
        mean_ap_weight: weight of mAP against one true-positive score in NDS.
    """

    class_range: Mapping[str, float] = field(default_factory=lambda: CLASS_RANGE)
    min_distance: float = 0.0
    distance_thresholds: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    tp_threshold: float = 2.0
    min_recall: float = 0.1
    min_precision: float = 0.1
    max_boxes_per_sample: int = MAX_BOXES_PER_SAMPLE
    mean_ap_weight: int = 5

    def __post_init__(self) -> None:
        if set(self.class_range) != set(DETECTION_CLASSES):
            raise ValueError(f"class_range must name exactly the ten classes: {', '.join(DETECTION_CLASSES)}")
        if self.tp_threshold not in self.distance_thresholds:
            raise ValueError(f"tp_threshold {self.tp_threshold} must be one of {self.distance_thresholds}")

    def within(self, near: float, far: float) -> DetectionConfig:
        """The same settings for boxes from ``near`` up to ``far`` [m]; the class ranges still apply."""
        ranges = {name: min(limit, far) for name, limit in self.class_range.items()}
        return replace(self, class_range=ranges, min_distance=max(self.min_distance, near))

    @property
    def first_recall_index(self) -> int:
        """Index of the first recall point that is averaged."""
        return round(100 * self.min_recall) + 1

    def serialize(self) -> dict[str, Any]:
        """The settings as the devkit writes them into ``metrics_summary.json``."""
        return {
            "class_range": {name: _plain(self.class_range[name]) for name in EVALUATION_CLASSES},
            "dist_fcn": "center_distance",
            "dist_ths": list(self.distance_thresholds),
            "dist_th_tp": self.tp_threshold,
            "min_recall": self.min_recall,
            "min_precision": self.min_precision,
            "max_boxes_per_sample": self.max_boxes_per_sample,
            "mean_ap_weight": self.mean_ap_weight,
        }


def _plain(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number
