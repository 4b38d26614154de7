"""Facts of the nuScenes detection task: classes, categories, attributes, evaluation ranges, boxes that count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from portbev.errors import nearest

DETECTION_CLASSES: Final[tuple[str, ...]] = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
)
"""The ten classes of the nuScenes detection task. A label is an index into this tuple, everywhere in the project."""

EVALUATION_CLASSES: Final[tuple[str, ...]] = (
    "car",
    "truck",
    "bus",
    "trailer",
    "construction_vehicle",
    "pedestrian",
    "motorcycle",
    "bicycle",
    "traffic_cone",
    "barrier",
)
"""The same classes in the order in which the official evaluation lists and averages them."""

CATEGORY_TO_CLASS: Final = MappingProxyType(
    {
        "movable_object.barrier": "barrier",
        "vehicle.bicycle": "bicycle",
        "vehicle.bus.bendy": "bus",
        "vehicle.bus.rigid": "bus",
        "vehicle.car": "car",
        "vehicle.construction": "construction_vehicle",
        "vehicle.motorcycle": "motorcycle",
        "human.pedestrian.adult": "pedestrian",
        "human.pedestrian.child": "pedestrian",
        "human.pedestrian.construction_worker": "pedestrian",
        "human.pedestrian.police_officer": "pedestrian",
        "movable_object.trafficcone": "traffic_cone",
        "vehicle.trailer": "trailer",
        "vehicle.truck": "truck",
    }
)
"""nuScenes category name -> detection class. A category that is absent here belongs to no class."""

IGNORED_CATEGORIES: Final[tuple[str, ...]] = (
    "animal",
    "human.pedestrian.personal_mobility",
    "human.pedestrian.stroller",
    "human.pedestrian.wheelchair",
    "movable_object.debris",
    "movable_object.pushable_pullable",
    "static_object.bicycle_rack",
    "vehicle.emergency.ambulance",
    "vehicle.emergency.police",
)
"""The nuScenes categories without a detection class (23 categories in all)."""

BICYCLE_RACK: Final = "static_object.bicycle_rack"
"""Bicycles and motorcycles inside boxes of this category are not evaluated."""

CLASS_RANGE: Final = MappingProxyType(
    {
        "car": 50.0,
        "truck": 50.0,
        "bus": 50.0,
        "trailer": 50.0,
        "construction_vehicle": 50.0,
        "pedestrian": 40.0,
        "motorcycle": 40.0,
        "bicycle": 40.0,
        "traffic_cone": 30.0,
        "barrier": 30.0,
    }
)
"""Detection class -> evaluation range: horizontal distance from the ego in metres, exclusive."""

ATTRIBUTES: Final[tuple[str, ...]] = (
    "pedestrian.moving",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "cycle.with_rider",
    "cycle.without_rider",
    "vehicle.moving",
    "vehicle.parked",
    "vehicle.stopped",
)
"""The attribute names of the detection task; the empty string stands for "no attribute"."""

_VEHICLE = ("vehicle.moving", "vehicle.parked", "vehicle.stopped")
_CYCLE = ("cycle.with_rider", "cycle.without_rider")

CLASS_ATTRIBUTES: Final = MappingProxyType(
    {
        "car": _VEHICLE,
        "truck": _VEHICLE,
        "bus": _VEHICLE,
        "trailer": _VEHICLE,
        "construction_vehicle": _VEHICLE,
        "pedestrian": ("pedestrian.moving", "pedestrian.sitting_lying_down", "pedestrian.standing"),
        "motorcycle": _CYCLE,
        "bicycle": _CYCLE,
        "traffic_cone": (),
        "barrier": (),
    }
)
"""Detection class -> the attributes that its objects may have."""

MAX_BOXES_PER_SAMPLE: Final = 500
"""The submission format allows at most this many boxes in a sample."""

IGNORE: Final = "ignore"
"""The class of categories that a mapping leaves out on purpose."""


class Categories:
    """Which detection class the boxes of each category have: nuScenes' own names, and those of a mapping.

    Args:
        mapping: the key ``data.categories``: category -> detection class or ``ignore``. It comes before the official
            names, which keep working.

    Raises:
        ValueError: a class that the benchmark does not have; names the nearest.
    """

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        self._mapping = dict(mapping or {})
        for category, name in self._mapping.items():
            if name not in DETECTION_CLASSES and name != IGNORE:
                known = nearest(name, (*DETECTION_CLASSES, IGNORE), label="The benchmark has")
                raise ValueError(f"category {category!r} is given the unknown class {name!r}. {known}")

    def class_of(self, category: str) -> str | None:
        """Detection class of a category; None where it has none."""
        name = self._mapping.get(category, CATEGORY_TO_CLASS.get(category))
        return None if name == IGNORE else name

    def is_ignored(self, category: str) -> bool:
        """Whether a category is of no class on purpose, so that its boxes need no word."""
        return self._mapping.get(category) == IGNORE or (
            category not in self._mapping and category in IGNORED_CATEGORIES
        )

    def labels(self, categories: Iterable[str]) -> NDArray[np.int64]:
        """(n,) label of each category, -1 for one without a detection class."""
        names = [self.class_of(category) for category in categories]
        return np.array([-1 if name is None else DETECTION_CLASSES.index(name) for name in names], np.int64)


def counts(points: NDArray[np.integer], min_points: int = 1) -> NDArray[np.bool_]:
    """(n,) which boxes have enough points to count: the one rule for training, drawing and scoring.

    Args:
        points: (n, 2) lidar and radar points inside each box. A negative number means that nobody counted, and such a
            box counts.
        min_points: the key ``data.min_points``: points of both sensors together that a box needs.
    """
    points = np.asarray(points)
    total: NDArray[np.bool_] = np.maximum(points, 0).sum(1) >= min_points
    return total | (points < 0).any(1)
