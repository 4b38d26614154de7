"""The world of a scene: a road, the drive of the ego along it, and the objects around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator
from portbev_nuscenes.synth.options import SynthOptions
from portbev_world.catalogue import KINDS, Kind
from portbev_world.mesh import Mesh
from portbev_world.road import Road, fit_origin
from portbev_world.tracks import Speed, Track, footprints_apart

Array = NDArray[np.float64]

KEY_FRAME_PERIOD = 0.5
#: Length and width of the ego vehicle, and how far its middle is ahead of the rear axle, the origin of the ego frame.
EGO_SIZE, EGO_MIDDLE = (4.08, 1.73), 1.35
#: Kinds planned at least _COMMON times per 100 m are in every scene, one of them within _NEAR metres of the ego's way.
_COMMON, _NEAR = 0.9, 28.0
_STEP = 0.2
_TURN = 2.0  # radians, limit on the total turn of a road, so that it never crosses itself


@dataclass(frozen=True)
class Actor:
    """An object of the scene.

    Attributes:
        name: key in the catalogue.
        kind: category and attribute.
        size: length, width, height of its shape in metres.
        mesh: its shape.
        track: its movement.
        in_traffic: whether a vehicle that stands still is annotated as stopped instead of parked.
    """

    name: str
    kind: Kind
    size: tuple[float, float, float]
    mesh: Mesh
    track: Track
    in_traffic: bool = False


@dataclass(frozen=True)
class World:
    """A road, the ego's track along it, and the actors. ``size`` is the (width, height) of the map in metres."""

    road: Road
    size: tuple[float, float]
    ego: Track
    actors: list[Actor]


def build_world(options: SynthOptions, scene: int) -> World:
    """Lay out a scene. It depends only on the seed, the scene's number, its duration, the density and the reach."""
    duration = (options.samples_per_scene - 1) * KEY_FRAME_PERIOD
    rng = generator(options.seed, "synth", scene, "road")
    lanes = int(rng.integers(1, 3))
    lane_width = float(rng.uniform(3.3, 3.7))
    kerb = lanes * lane_width + 1.7
    walk = kerb + 3.2
    lane = int(rng.integers(lanes))
    lane_speed = {number: _lane_speed(rng, number == lane) for number in range(-lanes, lanes)}
    travelled = float(lane_speed[lane].distance(np.array([duration]))[0])
    road = Road(
        curvature=float(rng.choice([-1, 0, 0, 1])) / max(float(rng.uniform(150, 400)), (travelled + 180) / _TURN),
        heading=float(rng.uniform(-np.pi, np.pi)),
        origin=(0.0, 0.0),
        lanes=lanes,
        lane_width=lane_width,
        kerb=kerb,
        walk=walk,
        plot=walk + float(rng.uniform(3.6, 4.6)),
        start=-90.0,
        end=travelled + 90.0,
        crossings=tuple(np.arange(float(rng.uniform(-60, -20)), travelled + 60, float(rng.uniform(45, 70)))),
    )
    origin, size = fit_origin(road, 45.0)
    road = replace(road, origin=origin)
    ego = Track(s=0.0, d=road.lane_centre(lane), along=lane_speed[lane])
    rng = generator(options.seed, "synth", scene, "actors")
    layout = _Layout(road, ego, lane_speed, duration, travelled, rng, options.reach)
    layout.fill(options.density)
    return World(road, size, ego, layout.actors)


def _lane_speed(rng: np.random.Generator, ego: bool) -> Speed:
    """Speed of all vehicles of a lane; ``ego``: of the ego's lane, which stands still less often."""
    mean = float(rng.uniform(2.5, 8.0))
    if rng.random() < (0.08 if ego else 0.2):
        mean = 0.0
    return Speed(mean, float(rng.uniform(0, 0.25)), float(rng.uniform(0.3, 0.9)), float(rng.uniform(0, 2 * np.pi)))


@dataclass
class _Layout:
    """Places objects one after another, each where it keeps clear of all earlier ones at all times."""

    road: Road
    ego: Track
    lane_speed: dict[int, Speed]
    duration: float
    travelled: float
    rng: np.random.Generator
    reach: float
    actors: list[Actor] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.times = np.arange(-_STEP, self.duration + 2 * _STEP, _STEP)
        ego = self.ego.poses(self.road, self.times)
        heading = np.stack([np.cos(ego[:, 2]), np.sin(ego[:, 2])], axis=1)
        ego[:, :2] += EGO_MIDDLE * heading
        self.poses, self.sizes = [ego], [np.array([EGO_SIZE[0] + 1.2, EGO_SIZE[1] + 0.4])]

    def fill(self, density: float) -> None:
        """Place all objects, big and rare ones first. The figures of the plan are numbers per 100 m of road."""
        reach = self.reach
        length = (self.travelled + 2 * reach) / 100 * density
        plan: list[tuple[float, Callable[[], bool]]] = [
            (0.7, self.construction_site),
            (0.9, lambda: self.drive("bus")),
            (0.8, lambda: self.park("bus")),
            (1.2, lambda: self.drive("truck")),
            (1.2, lambda: self.park("truck")),
            (0.5, self.articulated_lorry),
            (1.1, lambda: self.park("trailer")),
            (0.9, lambda: self.park("construction_vehicle")),
            (0.08, self.rack),
            (3.2, lambda: self.drive("car")),
            (3.8, lambda: self.park("car")),
            (0.15, lambda: self.drive("police")),
            (1.4, lambda: self.ride("motorcyclist")),
            (1.0, lambda: self.park("motorcycle")),
            (1.6, lambda: self.ride("cyclist")),
            (1.0, lambda: self.stand("bicycle")),
            (1.0, self.cones),
            (1.0, self.barriers),
            (1.2, self.cross),
            (3.4, lambda: self.stroll("pedestrian")),
            (0.6, lambda: self.stroll("child")),
            (1.2, lambda: self.stand("pedestrian")),
            (0.3, lambda: self.stand("stroller")),
            (0.4, lambda: self.stand("pushable")),
            (0.2, lambda: self.stand("animal")),
            (0.3, lambda: self.park("debris")),
            (5.0, lambda: self.beside("tree", 2.2)),
            (1.5, lambda: self.beside("street_lamp", 0.6)),
            (0.8, lambda: self.beside("traffic_sign", 0.4)),
            (11.0, lambda: self.beside("building", 8.0)),
        ]
        common = [place_one for mean, place_one in plan if mean >= _COMMON] if density > 0 else []
        self.reach = min(_NEAR, reach)
        for place_one in common:
            any(place_one() for _ in range(60))
        self.reach = reach
        for mean, place_one in plan:
            number = max(0.0, mean * length * self.rng.uniform(0.7, 1.3) - (place_one in common))
            for _ in range(int(number) + int(self.rng.random() < number % 1)):
                any(place_one() for _ in range(12))

    def place(self, name: str, track: Track, *, margin: float = 0.25, in_traffic: bool = False) -> bool:
        """Add an object if its way is free; return whether it was added."""
        return self.place_all([(name, track)], margin, in_traffic)

    def place_all(self, group: list[tuple[str, Track]], margin: float = 0.25, in_traffic: bool = False) -> bool:
        """Add several objects if the ways of all are free; return whether they were added."""
        drawn = [(name, track, KINDS[name].draw_size(self.rng)) for name, track in group]
        poses = [track.poses(self.road, self.times) for _, track, _ in drawn]
        sizes = [np.array(size[:2]) for _, _, size in drawn]
        others, other_sizes = np.array(self.poses), np.array(self.sizes)
        for pose, size in zip(poses, sizes, strict=True):
            near = np.hypot(*np.moveaxis(others[..., :2] - pose[None, :, :2], -1, 0)).min(axis=1)
            close = near < np.hypot(*other_sizes.T) / 2 + np.hypot(*size) / 2 + 2 * margin
            if (
                close.any()
                and not footprints_apart(
                    pose[None], size[None, None], others[close], other_sizes[close][:, None], margin
                ).all()
            ):
                return False
        for (name, track, extent), pose, size in zip(drawn, poses, sizes, strict=True):
            mesh = KINDS[name].shape(extent, self.rng)
            self.actors.append(Actor(name, KINDS[name], extent, mesh, track, in_traffic))
            self.poses.append(pose)
            self.sizes.append(size)
        return True

    def anywhere(self) -> float:
        """A random s on the stretch of road that has objects."""
        return float(self.rng.uniform(-self.reach, self.travelled + self.reach))

    def side(self) -> int:
        """-1 (right) or 1 (left)."""
        return -1 if self.rng.random() < 0.5 else 1

    def _in_lane(self, lane: int, big: bool) -> Track:
        """A track that follows a lane from a random place within reach of the ego."""
        speed = self.lane_speed[lane]
        direction = 1 if lane >= 0 else -1
        run = direction * float(speed.distance(np.array([self.duration]))[0])
        gap = self.travelled - run
        low, high = sorted((0.0, gap))
        s = float(self.rng.uniform(low - 0.85 * self.reach, high + 0.85 * self.reach))
        if big and abs(s) < 13:
            s += float(np.copysign(13, s))  # a lorry beside the ego fills two cameras
        return Track(s, self.road.lane_centre(lane), speed, direction, turn=0.0 if direction > 0 else np.pi)

    def drive(self, name: str) -> bool:
        """A vehicle in a lane; all vehicles of a lane share its speed."""
        lane = int(self.rng.integers(-self.road.lanes, self.road.lanes))
        track = self._in_lane(lane, name in ("truck", "bus"))
        track = replace(track, d=track.d + float(self.rng.uniform(-0.15, 0.15)))
        return self.place(name, track, margin=0.3, in_traffic=True)

    def articulated_lorry(self) -> bool:
        """A lorry with a trailer behind it."""
        track = self._in_lane(int(self.rng.integers(-self.road.lanes, self.road.lanes)), True)
        behind = replace(track, s=track.s - track.direction * 10.6)
        return self.place_all([("truck", track), ("trailer", behind)], 0.2, in_traffic=True)

    def park(self, name: str) -> bool:
        """A parked object in the parking strip, or sometimes on the plot behind the sidewalk."""
        side = self.side()
        strip = (self.road.kerb + self.road.walk) / 2
        d = side * (strip + float(self.rng.uniform(-0.1, 0.15)))
        turn = float(self.rng.normal(0, 0.03)) + (0.0 if side < 0 else np.pi)
        if name in ("truck", "trailer", "construction_vehicle") and self.rng.random() < 0.3:
            d = side * (self.road.plot + float(self.rng.uniform(3.5, 7.0)))
            turn = float(self.rng.uniform(-np.pi, np.pi))
        if name in ("motorcycle", "debris"):
            turn += float(self.rng.uniform(-1.2, 1.2))
        return self.place(name, Track(self.anywhere(), d, turn=turn))

    def ride(self, name: str) -> bool:
        """A cycle along the strip at the edge of the lanes, or a motorcycle in a lane."""
        side = self.side()
        if name == "motorcyclist" and self.rng.random() < 0.6:
            return self.drive(name)
        speed = Speed(3.6 if side < 0 else 4.4)
        run = speed.mean * self.duration * -side
        low, high = sorted((0.0, self.travelled - run))
        s = float(self.rng.uniform(low - 0.8 * self.reach, high + 0.8 * self.reach))
        d = side * (self.road.kerb - 0.75)
        return self.place(name, Track(s, d, speed, -side, turn=0.0 if side < 0 else np.pi))

    def stroll(self, name: str) -> bool:
        """A walker in one of the three bands of a sidewalk; each band has one direction and one speed."""
        side, band = self.side(), int(self.rng.integers(3))
        pace = Speed(0.9 + 0.25 * band)
        direction = 1 if band % 2 else -1
        run = direction * pace.mean * self.duration
        low, high = sorted((0.0, self.travelled - run))
        s = float(self.rng.uniform(low - 0.8 * self.reach, high + 0.8 * self.reach))
        d = side * (self.road.walk + 0.6 + 0.95 * band)
        return self.place(name, Track(s, d, pace, direction, turn=0.0 if direction > 0 else np.pi), margin=0.12)

    def stand(self, name: str) -> bool:
        """An object that stands on the sidewalk or between parked cars."""
        d = self.side() * float(self.rng.uniform(self.road.kerb + 0.6, self.road.plot - 0.4))
        return self.place(name, Track(self.anywhere(), d, turn=float(self.rng.uniform(-np.pi, np.pi))), margin=0.12)

    def cross(self) -> bool:
        """A walker who crosses the road, at a zebra crossing if there is one in reach."""
        side = self.side()
        zebra = [s for s in self.road.crossings if -self.reach < s < self.travelled + self.reach]
        s = (
            float(self.rng.choice(zebra)) + float(self.rng.uniform(-1.4, 1.4))
            if zebra and self.rng.random() < 0.7
            else self.anywhere()
        )
        start = side * float(self.rng.uniform(-self.road.kerb, self.road.walk))
        pace = float(self.rng.uniform(0.9, 1.5))
        track = Track(s, start, across=-side * pace, stop=-side * (self.road.walk + 0.5), turn=-side * np.pi / 2)
        return self.place("pedestrian", track, margin=0.2)

    def cones(self) -> bool:
        """A line of cones beside the lanes."""
        side, s = self.side(), self.anywhere()
        count, gap = int(self.rng.integers(3, 7)), float(self.rng.uniform(1.8, 3.2))
        d = self.road.kerb + float(self.rng.uniform(-0.1, 2.4))
        slope = float(self.rng.uniform(-0.2, 0.2))
        line = [
            Track(s + i * gap, side * (d + slope * (i - count / 2)), turn=float(self.rng.uniform(-3, 3)))
            for i in range(count)
        ]
        return self.place_all([("traffic_cone", track) for track in line], 0.15)

    def barriers(self) -> bool:
        """A line of barriers along the road, at the kerb or on the sidewalk's edge."""
        side, s = self.side(), self.anywhere()
        count = int(self.rng.integers(3, 6))
        d = side * (self.road.kerb + float(self.rng.choice([0.1, 1.2, 2.9, 3.6])))
        bent = float(self.rng.normal(0, 0.06))
        line = [
            Track(
                s + i * 3.0, d + bent * i, turn=float(self.rng.normal(0, 0.05)) + (np.pi if side > 0 else 0) + np.pi / 2
            )
            for i in range(count)
        ]
        return self.place_all([("barrier", track) for track in line], 0.1)

    def construction_site(self) -> bool:
        """A construction vehicle in the parking strip behind barriers and cones, with workers."""
        side, s = self.side(), self.anywhere()
        strip = side * (self.road.kerb + 1.75)
        group = [
            ("construction_vehicle", Track(s, strip, turn=float(self.rng.normal(0, 0.08)) + (np.pi if side > 0 else 0)))
        ]
        for end in (-1, 1):
            group.append(("barrier", Track(s + end * 6.0, strip, turn=float(self.rng.normal(0, 0.1)))))
            group.append(("traffic_cone", Track(s + end * 7.6, strip - side * 1.0)))
            group.append(("traffic_cone", Track(s + end * 8.8, strip + side * 0.5)))
        workers = int(self.rng.integers(0, 3))
        for worker in range(workers):
            worker_s = s + (worker * 2 - 1) * 4.6
            group.append(
                (
                    "worker",
                    Track(worker_s, strip + float(self.rng.uniform(-0.7, 0.7)), turn=float(self.rng.uniform(-3, 3))),
                )
            )
        return self.place_all(group, 0.1)

    def rack(self) -> bool:
        """A bicycle rack on the sidewalk's edge."""
        return self.place("bicycle_rack", Track(self.anywhere(), self.side() * (self.road.walk + 1.2)))

    def beside(self, name: str, clearance: float) -> bool:
        """Scenery behind the sidewalk."""
        side = self.side()
        d = side * (
            self.road.plot
            + clearance * (0.5 if clearance < 5 else 1.0)
            + float(self.rng.uniform(0.2, 1.5 if clearance < 5 else 6.0))
        )
        if name in ("street_lamp", "traffic_sign"):
            d = side * (self.road.plot - 0.3)
        turn = {"street_lamp": -side * np.pi / 2, "traffic_sign": np.pi if side < 0 else 0.0}.get(name, 0.0)
        spread = 80.0 if name in ("building", "tree") else self.reach
        s = float(self.rng.uniform(-spread, self.travelled + spread))
        return self.place(name, Track(s, d, turn=turn), margin=0.2)
