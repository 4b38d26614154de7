"""The kinds of objects in a scene: categories, attributes, sizes and shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from portbev_world import street, vehicles
from portbev_world.mesh import Mesh

#: The 23 official categories, with a description each.
CATEGORIES: dict[str, str] = {
    "human.pedestrian.adult": "Grown person",
    "human.pedestrian.child": "Child",
    "human.pedestrian.wheelchair": "Person in a wheelchair",
    "human.pedestrian.stroller": "Pram",
    "human.pedestrian.personal_mobility": "Person on a small electric or self-propelled vehicle",
    "human.pedestrian.police_officer": "Police officer",
    "human.pedestrian.construction_worker": "Construction worker",
    "animal": "Animal",
    "vehicle.car": "Passenger car",
    "vehicle.motorcycle": "Motorcycle or scooter, its rider included",
    "vehicle.bicycle": "Bicycle, its rider included",
    "vehicle.bus.bendy": "Bus with a joint",
    "vehicle.bus.rigid": "Bus without a joint",
    "vehicle.truck": "Lorry or pickup",
    "vehicle.construction": "Construction vehicle",
    "vehicle.emergency.ambulance": "Ambulance",
    "vehicle.emergency.police": "Police vehicle",
    "vehicle.trailer": "Trailer, with or without the vehicle that pulls it",
    "movable_object.barrier": "Movable road barrier",
    "movable_object.trafficcone": "Traffic cone",
    "movable_object.pushable_pullable": "Object that a person can push or pull, such as a bin",
    "movable_object.debris": "Object left on the road",
    "static_object.bicycle_rack": "Place to park bicycles",
}

#: The 8 official attributes, with a description each.
ATTRIBUTES: dict[str, str] = {
    "vehicle.moving": "Vehicle is moving",
    "vehicle.stopped": "Vehicle is stopped and may go on at any time",
    "vehicle.parked": "Vehicle is parked",
    "cycle.with_rider": "Somebody rides the cycle",
    "cycle.without_rider": "Nobody is on the cycle",
    "pedestrian.sitting_lying_down": "Person sits or lies",
    "pedestrian.standing": "Person stands",
    "pedestrian.moving": "Person walks or runs",
}

#: The 4 official visibility levels: token, name, least share of the object's pixels visible in the six cameras.
VISIBILITY: tuple[tuple[str, str, float], ...] = (
    ("1", "v0-40", 0.0),
    ("2", "v40-60", 0.4),
    ("3", "v60-80", 0.6),
    ("4", "v80-100", 0.8),
)

Shape = Callable[[vehicles.Size, np.random.Generator], Mesh]


@dataclass(frozen=True)
class Kind:
    """A kind of object.

    Attributes:
        category: nuScenes category; empty for scenery, which is never annotated.
        size: mean length, width, height in metres (nuScenes' means for the ten classes).
        spread: relative standard deviation of the size.
        shape: builds the mesh.
        attribute: group of its attributes: vehicle, cycle, pedestrian, or empty for none.
    """

    category: str
    size: vehicles.Size
    spread: float
    shape: Shape
    attribute: str = ""

    def draw_size(self, rng: np.random.Generator) -> vehicles.Size:
        """A random size around the mean."""
        common, individual = rng.normal(0, 0.7 * self.spread), rng.normal(0, 0.5 * self.spread, 3)
        factors = np.clip(1 + common + individual, 1 - 2.2 * self.spread, 1 + 2.2 * self.spread)
        length, width, height = (
            round(float(side * factor), 3) for side, factor in zip(self.size, factors, strict=True)
        )
        return length, width, height


def _worker(size: vehicles.Size, rng: np.random.Generator) -> Mesh:
    return street.pedestrian(size, rng, worker=True)


def _police_car(size: vehicles.Size, rng: np.random.Generator) -> Mesh:
    return vehicles.car(size, rng, paint=(236, 238, 240), roof_light=True)


KINDS: dict[str, Kind] = {
    "car": Kind("vehicle.car", (4.62, 1.95, 1.73), 0.07, vehicles.car, "vehicle"),
    "truck": Kind("vehicle.truck", (6.93, 2.51, 2.84), 0.12, vehicles.truck, "vehicle"),
    "bus": Kind("vehicle.bus.rigid", (10.5, 2.94, 3.47), 0.07, vehicles.bus, "vehicle"),
    "trailer": Kind("vehicle.trailer", (11.5, 2.9, 3.87), 0.08, vehicles.trailer, "vehicle"),
    "construction_vehicle": Kind(
        "vehicle.construction", (6.37, 2.85, 3.19), 0.1, vehicles.construction_vehicle, "vehicle"
    ),
    "pedestrian": Kind("human.pedestrian.adult", (0.73, 0.67, 1.77), 0.06, street.pedestrian, "pedestrian"),
    "child": Kind("human.pedestrian.child", (0.53, 0.5, 1.3), 0.06, street.pedestrian, "pedestrian"),
    "worker": Kind(
        "human.pedestrian.construction_worker",
        (0.75, 0.72, 1.78),
        0.05,
        _worker,
        "pedestrian",
    ),
    "motorcyclist": Kind(
        "vehicle.motorcycle", (2.11, 0.77, 1.56), 0.06, partial(street.motorcycle, rider=True), "cycle"
    ),
    "motorcycle": Kind("vehicle.motorcycle", (2.08, 0.77, 1.3), 0.05, partial(street.motorcycle, rider=False), "cycle"),
    "cyclist": Kind("vehicle.bicycle", (1.72, 0.62, 1.66), 0.05, partial(street.bicycle, rider=True), "cycle"),
    "bicycle": Kind("vehicle.bicycle", (1.7, 0.6, 1.06), 0.05, partial(street.bicycle, rider=False), "cycle"),
    "traffic_cone": Kind("movable_object.trafficcone", (0.41, 0.41, 1.07), 0.1, street.traffic_cone),
    "barrier": Kind("movable_object.barrier", (0.5, 2.53, 0.98), 0.05, street.barrier),
    "bicycle_rack": Kind("static_object.bicycle_rack", (4.4, 1.9, 1.1), 0.08, street.bicycle_rack),
    "police": Kind(
        "vehicle.emergency.police",
        (4.7, 1.95, 1.75),
        0.03,
        _police_car,
        "vehicle",
    ),
    "debris": Kind("movable_object.debris", (1.0, 0.9, 0.6), 0.15, street.debris),
    "pushable": Kind("movable_object.pushable_pullable", (0.67, 0.6, 1.06), 0.06, street.pushable),
    "animal": Kind("animal", (0.9, 0.3, 0.6), 0.1, street.animal),
    "stroller": Kind("human.pedestrian.stroller", (0.95, 0.6, 1.1), 0.05, street.stroller),
    "building": Kind("", (15.0, 10.0, 9.0), 0.3, street.building),
    "tree": Kind("", (3.8, 3.8, 6.0), 0.18, street.tree),
    "street_lamp": Kind("", (1.6, 0.2, 6.0), 0.05, street.street_lamp),
    "traffic_sign": Kind("", (0.1, 0.6, 2.6), 0.08, street.traffic_sign),
}
