"""What the radar's waves meet: points that scatter, on vehicles and scenery.

A vehicle is eight points around its body; those on the sides that face the radar are strong. Scenery is the same with
less, and the road a handful of very weak points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator
from portbev_radial.synth.world import RADAR_HEIGHT, World

Array = NDArray[np.float64]

_CORNERS = np.array([[1, 1], [1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1], [0, 1]], np.float64) / 2
_NORMALS = _CORNERS / np.linalg.norm(_CORNERS, axis=1, keepdims=True)
#: Radar cross section of a thing [m^2], shared out among its points.
AREAS = {"car": 12.0, "truck": 40.0, "bus": 50.0, "tree": 0.4, "street_lamp": 0.8, "traffic_sign": 2.0, "building": 4.0}
_TURNED_AWAY = 0.02  # share of the power that comes from a side that faces away
_ROAD_POINTS, _ROAD_AREA = 24, 0.004
_STEP = 0.01  # seconds, for radial speeds


@dataclass(frozen=True)
class Echoes:
    """Points that scatter, in the radar frame: x forward, y left, z up.

    Attributes:
        points: (K, 3) metres.
        speed: (K,) m/s away from the radar.
        area: (K,) radar cross section, m^2.
        phase: (K,) of the reflection, radians.
        owner: (K,) the actor, -1 for the road.
    """

    points: Array
    speed: Array
    area: Array
    phase: Array
    owner: NDArray[np.int64]


def collect(world: World, seed: int, sequence: int, frame: int, time: float, visible: Array) -> Echoes:
    """The points that scatter at a time.

    Args:
        world: everything.
        seed, sequence, frame: key of the draws: phases per sequence, fluctuation per frame.
        time: seconds.
        visible: (N,) share of each actor that the camera sees; what is hidden scatters less.
    """
    now, soon = world.seen_from_ego(time), world.seen_from_ego(time + _STEP)
    points, speeds, areas, phases, owners = [], [], [], [], []
    for i, actor in enumerate(world.actors):
        if not -5 < now[i, 0] < 120:
            continue
        rng = generator(seed, "synth radial", sequence, "points", i)
        height = rng.uniform(0.25, 0.75, 8) * min(actor.body.size[2], 2.0)
        phase = rng.uniform(-np.pi, np.pi, 8)
        here, there = _place(now[i], actor.body.size, height), _place(soon[i], actor.body.size, height)
        distance = np.linalg.norm(here, axis=1)
        cos, sin = np.cos(now[i, 2]), np.sin(now[i, 2])
        normals = _NORMALS @ np.array([[cos, sin], [-sin, cos]])
        facing = -(normals * here[:, :2]).sum(1) / np.maximum(distance, 1e-6)
        share = np.maximum(facing, _TURNED_AWAY)
        swing = generator(seed, "synth radial", sequence, frame, "swing", i).lognormal(0, 0.35, 8)
        points.append(here)
        speeds.append((np.linalg.norm(there, axis=1) - distance) / _STEP)
        areas.append(AREAS[actor.name] / 8 * share * swing * (0.1 + 0.9 * visible[i]))
        phases.append(phase)
        owners.append(np.full(8, i))
    road = _road(world, seed, sequence, frame, time)
    return Echoes(
        np.concatenate([*points, road.points]),
        np.concatenate([*speeds, road.speed]),
        np.concatenate([*areas, road.area]),
        np.concatenate([*phases, road.phase]),
        np.concatenate([*owners, road.owner]).astype(np.int64),
    )


def _place(pose: Array, size: tuple[float, float, float], height: Array) -> Array:
    """(8, 3) points around a body, in the radar frame."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    flat = _CORNERS * np.array(size[:2]) @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
    return np.concatenate([flat, (height - RADAR_HEIGHT)[:, None]], 1)


def _road(world: World, seed: int, sequence: int, frame: int, time: float) -> Echoes:
    """Rough spots of the road that drive by."""
    rng = generator(seed, "synth radial", sequence, frame, "road")
    distance, bearing = rng.uniform(4, 80, _ROAD_POINTS), rng.uniform(-0.6, 0.6, _ROAD_POINTS)
    points = np.stack([distance * np.cos(bearing), distance * np.sin(bearing), -np.full(_ROAD_POINTS, RADAR_HEIGHT)], 1)
    pace = np.linalg.norm(world.ego_pose(time + _STEP)[:2] - world.ego_pose(time)[:2]) / _STEP
    away = np.linalg.norm(points, axis=1)
    return Echoes(
        points,
        -pace * points[:, 0] / away,
        _ROAD_AREA * rng.exponential(1.0, _ROAD_POINTS),
        rng.uniform(-np.pi, np.pi, _ROAD_POINTS),
        np.full(_ROAD_POINTS, -1),
    )
