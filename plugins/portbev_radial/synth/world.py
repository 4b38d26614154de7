"""A stretch of road before the car: traffic, parked vehicles, scenery.

All vehicles of a lane have the same speed and nothing leaves its lane or strip, so that nothing collides. The ego frame
has its origin on the ground below the radar: x forward, y left, z up.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator
from portbev_radial.synth.options import RadialSynthOptions
from portbev_world.catalogue import KINDS
from portbev_world.mesh import Mesh
from portbev_world.picture import Body
from portbev_world.road import Road, fit_origin
from portbev_world.tracks import Speed, Track

Array = NDArray[np.float64]

RADAR_HEIGHT = 0.5
"""Height above the ground of the radar, and of the lidar in the same housing [m]."""

VEHICLES = ("car", "car", "car", "car", "car", "car", "truck", "bus")
SCENERY = {"tree": 22.0, "street_lamp": 35.0, "traffic_sign": 60.0, "building": 28.0}  # mean metres between two
_BEHIND, _AHEAD = -25.0, 115.0
_FARTHEST = 300.0  # metres, limit on the way of the ego: in a long sequence it drives slowly, for a small map
_TURN = 2.0  # radians, limit on the total turn of a road, so that it never crosses itself


@dataclass(frozen=True)
class Actor:
    """An object: its name in the catalogue, its body and its track. Vehicles are labelled, scenery is not."""

    name: str
    body: Body
    track: Track

    @property
    def is_vehicle(self) -> bool:
        """Whether it is a vehicle, which is labelled."""
        return self.name in VEHICLES


@dataclass(frozen=True)
class World:
    """A road, the ego's track along it, and the actors; ``size`` is the (width, height) of the map in metres."""

    road: Road
    size: tuple[float, float]
    ego: Track
    actors: list[Actor]

    def ego_pose(self, time: float) -> Array:
        """(3,) global x, y, yaw of the ego frame."""
        return self.ego.poses(self.road, np.array([time]))[0]

    def poses(self, time: float) -> Array:
        """(N, 3) global x, y, yaw of the actors."""
        times = np.array([time])
        return np.array([actor.track.poses(self.road, times)[0] for actor in self.actors]).reshape(-1, 3)

    def seen_from_ego(self, time: float) -> Array:
        """(N, 3) x, y, yaw of the actors in the ego frame."""
        ego, poses = self.ego_pose(time), self.poses(time)
        cos, sin = np.cos(ego[2]), np.sin(ego[2])
        offset = poses[:, :2] - ego[:2]
        x, y = offset @ np.array([cos, sin]), offset @ np.array([-sin, cos])
        yaw = (poses[:, 2] - ego[2] + np.pi) % (2 * np.pi) - np.pi
        return np.stack([x, y, yaw], 1)


def build_world(options: RadialSynthOptions, sequence: int) -> World:
    """Lay out a sequence. It depends only on the seed, the sequence's number, its duration and the density."""
    rng = generator(options.seed, "synth radial", sequence, "world")
    duration = options.frames * options.period
    lanes, lane_width = int(rng.integers(1, 3)), float(rng.uniform(3.3, 3.7))
    kerb = lanes * lane_width + 0.8
    walk = kerb + 3.2
    lane = int(rng.integers(lanes))
    pace = float(rng.choice([0.0, rng.uniform(4, 12), rng.uniform(12, 24)], p=[0.1, 0.5, 0.4]))
    pace = min(pace, _FARTHEST / duration)
    travelled = pace * duration
    radius = max(float(rng.uniform(250, 600)), (travelled + 200) / _TURN)
    road = Road(
        curvature=float(rng.choice([-1, 0, 0, 1])) / radius,
        heading=float(rng.uniform(-np.pi, np.pi)),
        origin=(0.0, 0.0),
        lanes=lanes,
        lane_width=lane_width,
        kerb=kerb,
        walk=walk,
        plot=walk + float(rng.uniform(3.6, 4.6)),
        start=-60.0,
        end=travelled + 140.0,
        crossings=(),
    )
    origin, size = fit_origin(road, 45.0)
    road = replace(road, origin=origin)
    ego = Track(s=0.0, d=road.lane_centre(lane), along=Speed(pace))
    layout = _Layout(road, duration, options.density, rng)
    for number in range(-lanes, lanes):
        layout.fill_lane(number, pace, is_ego_lane=number == lane)
    for side in (-1, 1):
        layout.park(side, travelled)
        layout.furnish(side, travelled)
    return World(road, size, ego, layout.actors)


class _Layout:
    """Fills lanes and strips from one end to the other."""

    def __init__(self, road: Road, duration: float, density: float, rng: np.random.Generator) -> None:
        self.road, self.duration, self.density, self.rng = road, duration, density, rng
        self.actors: list[Actor] = []

    def fill_lane(self, lane: int, pace: float, is_ego_lane: bool) -> None:
        """Place the traffic of one lane; in the ego's own lane it has the speed of the ego."""
        direction = 1 if lane >= 0 else -1
        speed = pace if is_ego_lane else max(0.0, _pace(self.rng, pace))
        run = direction * speed * self.duration
        low, high = _BEHIND - max(run, 0.0), pace * self.duration + _AHEAD - min(run, 0.0)
        for s, name in self._row(low, high, 32.0, VEHICLES, 14.0):
            if is_ego_lane and -8.0 < s < 9.0:  # the place of the ego, which is behind the radar
                continue
            d = self.road.lane_centre(lane) + float(self.rng.uniform(-0.2, 0.2))
            self._add(name, Track(s, d, Speed(speed), direction, turn=0.0 if direction > 0 else np.pi))

    def park(self, side: int, travelled: float) -> None:
        """Place parked vehicles on one side."""
        middle = side * (self.road.kerb + self.road.walk) / 2
        for s, name in self._row(_BEHIND, travelled + _AHEAD, 45.0, ("car",), 7.0):
            self._add(name, Track(s, middle, turn=float(self.rng.normal(0, 0.02)) + (0.0 if side < 0 else np.pi)))

    def furnish(self, side: int, travelled: float) -> None:
        """Place scenery beside the road; each kind has a strip of its own."""
        strips = {"tree": 2.5, "street_lamp": -0.4, "traffic_sign": -1.2, "building": 14.0}
        for name, gap in SCENERY.items():
            turn = {"street_lamp": -side * np.pi / 2, "traffic_sign": np.pi}.get(name, 0.0)
            for s, _ in self._row(_BEHIND, travelled + _AHEAD, gap, (name,), 26.0 if name == "building" else 6.0):
                self._add(name, Track(s, side * (self.road.plot + strips[name]), turn=turn))

    def _row(
        self, low: float, high: float, gap: float, names: tuple[str, ...], min_gap: float
    ) -> Iterator[tuple[float, str]]:
        """Yield (s, name) along the road, ``min_gap`` metres plus a random gap apart; nothing at density 0."""
        if self.density <= 0:
            return
        s = low + float(self.rng.uniform(0, gap))
        while s < high:
            yield s, names[int(self.rng.integers(len(names)))]
            s += min_gap + float(self.rng.exponential(gap / self.density))

    def _add(self, name: str, track: Track) -> None:
        kind = KINDS[name]
        size = kind.draw_size(self.rng)
        mesh: Mesh = kind.shape(size, self.rng)
        self.actors.append(Actor(name, Body(mesh, size), track))


def _pace(rng: np.random.Generator, pace: float) -> float:
    """Random speed of a lane that is not the ego's, m/s: sometimes 0."""
    return 0.0 if rng.random() < 0.1 else pace + float(rng.normal(0, 3.0)) if pace else float(rng.uniform(2, 12))
