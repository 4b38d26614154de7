"""Facts of the nuScenes detection task: classes, categories, attributes, evaluation ranges."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

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
