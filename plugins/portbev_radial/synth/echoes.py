"""The scatterers that the radar sees, on vehicles, scenery and the road.

A vehicle has eight scatterers around its body; those on the sides that face the radar are strong. Scenery is modelled
in the same way with smaller cross sections, and the road by a few very weak scatterers.
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
#: Radar cross section of an object [m^2], divided among its scatterers.
AREAS = {"car": 12.0, "truck": 40.0, "bus": 50.0, "tree": 0.4, "street_lamp": 0.8, "traffic_sign": 2.0, "building": 4.0}
_TURNED_AWAY = 0.02  # factor on the cross section of sides that face away from the radar
_ROAD_POINTS, _ROAD_AREA = 24, 0.004
_STEP = 0.01  # seconds, for radial speeds


@dataclass(frozen=True)
class Echoes:
    """Scatterers in the radar frame: x forward, y left, z up.

    Attributes:
        points: (K, 3) positions, metres.
        speed: (K,) radial speed, positive away from the radar, m/s.
        area: (K,) radar cross section, m^2.
        phase: (K,) phase of the reflection, radians.
        owner: (K,) index of the actor, -1 for the road.
    """

    points: Array
    speed: Array
    area: Array
    phase: Array
    owner: NDArray[np.int64]


def collect(world: World, seed: int, sequence: int, frame: int, time: float, visible: Array) -> Echoes:
    """The scatterers at a time.

    Args:
        world: road and actors.
        seed, sequence, frame: keys of the random draws: phases are drawn per sequence, fluctuations per frame.
        time: seconds.
        visible: (N,) share of each actor that the camera sees; hidden actors scatter less.
    """
    now, soon = world.seen_from_ego(time), world.seen_from_ego(time + _STEP)
    points, speeds, areas, phases, owners = [], [], [], [], []
    for i, actor in enumerate(world.actors):
        if not -5 < now[i, 0] < 120:
            continue
        rng = generator(seed, "synth radial", sequence, "points", i)
        height = rng.uniform(0.25, 0.75, 8) * min(actor.body.size[2], 2.0)
        phase = rng.uniform(-np.pi, np.pi, 8)
        scatterers, scatterers_soon = (
            _around_body(now[i], actor.body.size, height),
            _around_body(soon[i], actor.body.size, height),
        )
        distance = np.linalg.norm(scatterers, axis=1)
        cos, sin = np.cos(now[i, 2]), np.sin(now[i, 2])
        normals = _NORMALS @ np.array([[cos, sin], [-sin, cos]])
        facing = -(normals * scatterers[:, :2]).sum(1) / np.maximum(distance, 1e-6)
        share = np.maximum(facing, _TURNED_AWAY)
        fluctuation = generator(seed, "synth radial", sequence, frame, "swing", i).lognormal(0, 0.35, 8)
        points.append(scatterers)
        speeds.append((np.linalg.norm(scatterers_soon, axis=1) - distance) / _STEP)
        areas.append(AREAS[actor.name] / 8 * share * fluctuation * (0.1 + 0.9 * visible[i]))
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


def _around_body(pose: Array, size: tuple[float, float, float], height: Array) -> Array:
    """(8, 3) scatterers around a body, in the radar frame."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    flat = _CORNERS * np.array(size[:2]) @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
    return np.concatenate([flat, (height - RADAR_HEIGHT)[:, None]], 1)


def _road(world: World, seed: int, sequence: int, frame: int, time: float) -> Echoes:
    """Scatterers on the road."""
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
