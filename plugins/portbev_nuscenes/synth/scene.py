"""Generate one scene: its sensor files and its table rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.rng import generator
from portbev_nuscenes.synth.can_bus import pose_messages
from portbev_nuscenes.synth.options import SynthOptions
from portbev_nuscenes.synth.tokens import fixed_token, token
from portbev_nuscenes.synth.world import KEY_FRAME_PERIOD, Actor, build_world
from portbev_world.catalogue import VISIBILITY
from portbev_world.light import build_light
from portbev_world.picture import Body, View, cast_shadows, render
from portbev_world.rig import LIDAR_CHANNEL, Camera, build_rig
from portbev_world.road import paint_ground, paint_mask
from portbev_world.scan import scan

Array = NDArray[np.float64]
Row = dict[str, Any]

#: Annotations reach this far from the ego, in metres.
ANNOTATED_RANGE = 65.0
_START = 1_600_000_000_000_000  # microseconds; scenes follow each other at 200 s
_MOVING = 0.3  # m/s


@dataclass
class Tables:
    """Table rows of a scene, by table, and the digest of every file written."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def add(self, table: str, row: Row) -> Row:
        """Append a row."""
        self.rows.setdefault(table, []).append(row)
        return row


@dataclass(frozen=True)
class _Frame:
    """A frame of one sensor at ``time`` [s].

    ``step`` 0 is the key frame of ``sample``; negative steps are the sweeps before it.
    """

    sample: int
    step: int
    time: float


class SceneWriter:
    """Renders a scene into ``root`` and collects its table rows."""

    def __init__(self, options: SynthOptions, number: int, root: Path) -> None:
        self.options, self.number, self.root = options, number, root
        self.name = scene_name(number)
        self.tables = Tables()
        self.world = build_world(options, number)
        self.rig = build_rig(options.seed, number, options.image_size, options.lidar_beams, options.lidar_steps)
        self.light = build_light(options.seed, number)
        resolution = 0.06 if options.image_size[0] > 1000 else 0.1
        self.ground = paint_ground(
            self.world.road, self.world.size, resolution, generator(options.seed, "synth", number, "ground")
        )
        self.bodies = [Body(actor.mesh, actor.size) for actor in self.world.actors]
        still = [i for i, actor in enumerate(self.world.actors) if not actor.track.moves]
        self.moving = [i for i, actor in enumerate(self.world.actors) if actor.track.moves]
        blank = np.zeros(self.ground.levels[1].shape[:2], np.uint8)
        poses = self.poses(0.0)
        self.still_shadows = cast_shadows(
            self.ground, [self.bodies[i] for i in still], poses[still], self.light.sun, blank
        )
        self.logfile = f"portbev-{number:04d}-2020-09-13-12-26-40+0000"
        self.start = _START + number * 200_000_000

    def token(self, *parts: int | str) -> str:
        """Token of a row of this scene."""
        return token(self.options, self.number, *parts)

    def poses(self, time: float) -> Array:
        """(N, 3) global x, y, yaw of every actor."""
        times = np.array([time])
        poses = [actor.track.poses(self.world.road, times)[0] for actor in self.world.actors]
        return np.array(poses).reshape(-1, 3)

    def ego(self, time: float) -> Array:
        """(3,) global x, y, yaw of the ego."""
        return self.world.ego.poses(self.world.road, np.array([time]))[0]

    def write(self) -> Tables:
        """Write all files; return the rows of all tables except the ones that data sets share."""
        self._write_map()
        if self.options.can_bus:
            self._write_can_bus()
        self._add_scene()
        self._add_calibration()
        points = self._write_lidar()
        pixel_counts = self._write_cameras()
        self._annotate(points, pixel_counts)
        return self.tables

    def _frames(self, delay: float) -> list[_Frame]:
        between = self.options.sweeps
        return [
            _Frame(sample, step, (sample + step / (between + 1)) * KEY_FRAME_PERIOD + delay)
            for sample in range(self.options.samples_per_scene)
            for step in range(-between if sample else 0, 1)
        ]

    def _write_lidar(self) -> list[NDArray[np.float32]]:
        key_points = []
        rows = []
        for frame in self._frames(0.0):
            stamp = self._stamp(frame.time)
            time = (stamp - self.start) / 1e6
            rng = generator(self.options.seed, "synth", self.number, "lidar", stamp)
            points = scan(self.rig.lidar, self.ego(time), self.bodies, self.poses(time), self.ground, rng)
            path = self._path(frame, LIDAR_CHANNEL, stamp, "pcd.bin")
            self._save(path, points.astype("<f4").tobytes())
            rows.append(self._add_data(frame, LIDAR_CHANNEL, stamp, path, (0, 0), "pcd"))
            if frame.step == 0:
                key_points.append(points)
        _link(rows)
        return key_points

    def _write_cameras(self) -> NDArray[np.int64]:
        """Render all pictures.

        Returns:
            (samples, actors, 2) canvas pixels over the six cameras: visible ones, and those without any occlusion.
        """
        pixel_counts = np.zeros((self.options.samples_per_scene, len(self.bodies), 2), np.int64)
        rows: dict[str, list[Row]] = {camera.channel: [] for camera in self.rig.cameras}
        for camera in self.rig.cameras:
            for frame in self._frames(camera.delay / 1e6):
                rows[camera.channel].append(self._write_picture(camera, frame, pixel_counts))
            _link(rows[camera.channel])
        return pixel_counts

    def _write_picture(self, camera: Camera, frame: _Frame, pixel_counts: NDArray[np.int64]) -> Row:
        stamp = self._stamp(frame.time)
        time = (stamp - self.start) / 1e6
        poses = self.poses(time)
        moving = [self.bodies[i] for i in self.moving]
        shadows = cast_shadows(self.ground, moving, poses[self.moving], self.light.sun, self.still_shadows)
        view = View.of(camera, self.ego(time))
        key = frame.step == 0
        picture = render(view, self.bodies, poses, self.ground, self.light, shadows, self.options.smoothing, key)
        if key:
            pixel_counts[frame.sample, picture.seen, 0] += picture.visible
            pixel_counts[frame.sample, picture.seen, 1] += picture.whole
        path = self._path(frame, camera.channel, stamp, "jpg")
        encoded, data = cv2.imencode(".jpg", picture.image, [cv2.IMWRITE_JPEG_QUALITY, self.options.jpeg_quality])
        if not encoded:
            raise RuntimeError(f"OpenCV could not encode {path}")
        self._save(path, data.tobytes())
        return self._add_data(frame, camera.channel, stamp, path, camera.size, "jpg")

    def _stamp(self, time: float) -> int:
        return self.start + round(time * 1e6)

    def _path(self, frame: _Frame, channel: str, stamp: int, suffix: str) -> str:
        folder = "samples" if frame.step == 0 else "sweeps"
        return f"{folder}/{channel}/{self.logfile}__{channel}__{stamp}.{suffix}"

    def _save(self, path: str, data: bytes) -> None:
        self.tables.files[path] = hashlib.sha256(data).hexdigest()
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def _write_map(self) -> None:
        encoded, data = cv2.imencode(
            ".png", paint_mask(self.world.road, self.world.size), [cv2.IMWRITE_PNG_COMPRESSION, 6]
        )
        if not encoded:
            raise RuntimeError("OpenCV could not encode the map")
        path = f"maps/{self.token('map')}.png"
        self._save(path, data.tobytes())
        log = self.token("log")
        self.tables.add(
            "map", {"category": "semantic_prior", "token": self.token("map"), "filename": path, "log_tokens": [log]}
        )
        self.tables.add(
            "log",
            {
                "token": log,
                "logfile": self.logfile,
                "vehicle": "portbev",
                "date_captured": "2020-09-13",
                "location": f"synthetic-{self.name[6:]}",
            },
        )

    def _write_can_bus(self) -> None:
        duration = (self.options.samples_per_scene - 1) * KEY_FRAME_PERIOD
        messages = pose_messages(self.world.ego, self.world.road, self.start, duration)
        self._save(f"can_bus/{self.name}_pose.json", json.dumps(messages).encode())

    def _add_scene(self) -> None:
        count = self.options.samples_per_scene
        road = self.world.road
        course = (
            "straight road"
            if road.curvature == 0
            else "bend to the left"
            if road.curvature > 0
            else "bend to the right"
        )
        pace = "standing" if not self.world.ego.moves else "driving"
        self.tables.add(
            "scene",
            {
                "token": self.token("scene"),
                "log_token": self.token("log"),
                "nbr_samples": count,
                "first_sample_token": self.token("sample", 0),
                "last_sample_token": self.token("sample", count - 1),
                "name": self.name,
                "description": f"Synthetic: {pace}, {course}, {2 * road.lanes} lanes",
            },
        )
        for sample in range(count):
            self.tables.add(
                "sample",
                {
                    "token": self.token("sample", sample),
                    "timestamp": self._stamp(sample * KEY_FRAME_PERIOD),
                    "prev": self.token("sample", sample - 1) if sample else "",
                    "next": self.token("sample", sample + 1) if sample + 1 < count else "",
                    "scene_token": self.token("scene"),
                },
            )

    def _add_calibration(self) -> None:
        for camera in self.rig.cameras:
            self._add_sensor(camera.channel, camera.position, camera.rotation, camera.intrinsic.tolist())
        self._add_sensor(LIDAR_CHANNEL, self.rig.lidar.position, self.rig.lidar.rotation, [])

    def _add_sensor(
        self, channel: str, position: Array, rotation: tuple[float, ...], intrinsic: list[list[float]]
    ) -> None:
        self.tables.add(
            "calibrated_sensor",
            {
                "token": self.token("calibrated_sensor", channel),
                "sensor_token": fixed_token("sensor", channel),
                "translation": position.tolist(),
                "rotation": list(rotation),
                "camera_intrinsic": intrinsic,
            },
        )

    def _add_data(
        self, frame: _Frame, channel: str, stamp: int, path: str, size: tuple[int, int], file_format: str
    ) -> Row:
        frame_token = self.token("sample_data", channel, stamp)
        x, y, yaw = (float(value) for value in self.ego((stamp - self.start) / 1e6))
        self.tables.add(
            "ego_pose",
            {"token": frame_token, "timestamp": stamp, "rotation": _yaw_quaternion(yaw), "translation": [x, y, 0.0]},
        )
        return self.tables.add(
            "sample_data",
            {
                "token": frame_token,
                "sample_token": self.token("sample", frame.sample),
                "ego_pose_token": frame_token,
                "calibrated_sensor_token": self.token("calibrated_sensor", channel),
                "timestamp": stamp,
                "fileformat": file_format,
                "is_key_frame": frame.step == 0,
                "height": size[1],
                "width": size[0],
                "filename": path,
                "prev": "",
                "next": "",
            },
        )

    def _annotate(self, points: list[NDArray[np.float32]], pixel_counts: NDArray[np.int64]) -> None:
        """Annotate each actor from the first to the last key frame in which it is near and seen by a sensor."""
        times = KEY_FRAME_PERIOD * np.arange(self.options.samples_per_scene, dtype=np.float64)
        egos = self.world.ego.poses(self.world.road, times)
        lidar = [self._to_global(cloud, ego) for cloud, ego in zip(points, egos, strict=True)]
        for index, actor in enumerate(self.world.actors):
            if not actor.kind.category:
                continue
            poses = actor.track.poses(self.world.road, times)
            near = np.hypot(*(poses[:, :2] - egos[:, :2]).T) <= ANNOTATED_RANGE
            size = annotated_size(actor)
            counts = np.array(
                [
                    points_inside(cloud, pose, size) if n else 0
                    for cloud, pose, n in zip(lidar, poses, near, strict=True)
                ]
            )
            noticed = np.nonzero(near & ((counts > 0) | (pixel_counts[:, index, 0] >= 12 * self.options.smoothing**2)))[
                0
            ]
            if len(noticed):
                self._add_instance(
                    index, actor, times, poses, size, counts, pixel_counts[:, index], range(noticed[0], noticed[-1] + 1)
                )

    def _add_instance(
        self,
        index: int,
        actor: Actor,
        times: Array,
        poses: Array,
        size: Array,
        counts: NDArray[np.int64],
        pixel_counts: NDArray[np.int64],
        span: range,
    ) -> None:
        names = {sample: self.token("annotation", index, sample) for sample in span}
        self.tables.add(
            "instance",
            {
                "token": self.token("instance", index),
                "category_token": fixed_token("category", actor.kind.category),
                "nbr_annotations": len(span),
                "first_annotation_token": names[span[0]],
                "last_annotation_token": names[span[-1]],
            },
        )
        ends = np.stack([actor.track.poses(self.world.road, times + step)[:, :2] for step in (-0.05, 0.05)])
        speeds = np.hypot(*(ends[1] - ends[0]).T) / 0.1
        for sample in span:
            attribute = attribute_of(actor, float(speeds[sample]))
            x, y, yaw = (float(value) for value in poses[sample])
            self.tables.add(
                "sample_annotation",
                {
                    "token": names[sample],
                    "sample_token": self.token("sample", sample),
                    "instance_token": self.token("instance", index),
                    "visibility_token": visibility_of(pixel_counts[sample]),
                    "attribute_tokens": [fixed_token("attribute", attribute)] if attribute else [],
                    "translation": [x, y, float(size[2]) / 2],
                    "size": [float(size[1]), float(size[0]), float(size[2])],
                    "rotation": _yaw_quaternion(yaw),
                    "prev": names.get(sample - 1, ""),
                    "next": names.get(sample + 1, ""),
                    "num_lidar_pts": int(counts[sample]),
                    "num_radar_pts": 0,
                },
            )

    def _to_global(self, points: NDArray[np.float32], ego: Array) -> Array:
        """(M, 3) global positions of points in the lidar frame."""
        lidar = self.rig.lidar
        ego_points = points[:, :3].astype(np.float64) @ _yaw_matrix(lidar.yaw).T + lidar.position
        return np.asfortranarray(ego_points @ _yaw_matrix(float(ego[2])).T + [ego[0], ego[1], 0.0])


def scene_name(number: int) -> str:
    """``scene-s0001`` for scene number 0."""
    return f"scene-s{number + 1:04d}"


def annotated_size(actor: Actor) -> Array:
    """(3,) length, width, height of the annotated box: the body with a margin of 2 cm for noisy returns."""
    return np.array([round(side + extra, 3) for side, extra in zip(actor.size, (0.04, 0.04, 0.02), strict=True)])


def points_inside(points: Array, pose: Array, size: Array) -> int:
    """Number of global points (M, 3) inside the box that stands on the ground at ``pose`` (x, y, yaw)."""
    reach = np.hypot(size[0], size[1]) / 2
    near = np.nonzero(np.abs(points[:, 0] - pose[0]) <= reach)[0]
    offset, height = points[near, :2] - pose[:2], points[near, 2]
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    x, y = cos * offset[:, 0] + sin * offset[:, 1], -sin * offset[:, 0] + cos * offset[:, 1]
    return int(
        np.sum((np.abs(x) <= size[0] / 2) & (np.abs(y) <= size[1] / 2) & (np.abs(height - size[2] / 2) <= size[2] / 2))
    )


def attribute_of(actor: Actor, speed: float) -> str:
    """Official attribute name; empty for kinds without attributes."""
    if actor.kind.attribute == "vehicle":
        return "vehicle.moving" if speed > _MOVING else "vehicle.stopped" if actor.in_traffic else "vehicle.parked"
    if actor.kind.attribute == "cycle":
        return "cycle.with_rider" if actor.name in ("cyclist", "motorcyclist") else "cycle.without_rider"
    if actor.kind.attribute == "pedestrian":
        return "pedestrian.moving" if speed > _MOVING else "pedestrian.standing"
    return ""


def visibility_of(pixels: NDArray[np.int64]) -> str:
    """Visibility token from pixel counts (2,): visible, and without occlusion."""
    share = pixels[0] / pixels[1] if pixels[1] else 0.0
    return [name for name, _, least in VISIBILITY if share >= least][-1]


def _yaw_quaternion(yaw: float) -> list[float]:
    """Quaternion w, x, y, z of a rotation about z."""
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


def _yaw_matrix(yaw: float) -> Array:
    """(3, 3) matrix of a rotation about z."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def _link(rows: list[Row]) -> None:
    """Set ``prev`` and ``next`` of rows in order of time."""
    for before, after in pairwise(rows):
        before["next"], after["prev"] = after["token"], before["token"]
