"""Write one generated sequence in the format of RADIal's recorder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.boxes import box_corners
from portbev.rng import generator
from portbev.signal.description import RadarDescription
from portbev_radial.recordings.calibration import CameraCalibration
from portbev_radial.recordings.description import RADIAL_RADAR
from portbev_radial.recordings.layout import (
    CAMERA,
    CAN,
    DELAYS,
    GPS,
    LIDAR,
    MASTER,
    PARTNERS,
    PREFIX,
    RADAR_CHIPS,
    TEST_SEQUENCES,
    VAL_SEQUENCES,
    log_file,
    sensor_file,
)
from portbev_radial.recordings.sensors import CAN_MESSAGE, SCALA
from portbev_radial.synth import echoes, radar
from portbev_radial.synth.antenna import build_antenna
from portbev_radial.synth.camera import Stage, build_lens, draw_calibration, low_resolution
from portbev_radial.synth.options import RadialSynthOptions
from portbev_radial.synth.world import RADAR_HEIGHT, build_world
from portbev_world.light import build_light
from portbev_world.rig import Lidar
from portbev_world.road import paint_ground
from portbev_world.scan import scan

Array = NDArray[np.float64]

SEEN_SHARE, SEEN_PIXELS, FIELD = 0.25, 30, np.deg2rad(30.0)
"""A vehicle is labelled if the camera sees at least this share and this many pixels of it, within this azimuth."""

_CLOCKS = {CAMERA: 7_111_000, LIDAR: 31_000, CAN: 2_000_000, GPS: 500, **dict.fromkeys(RADAR_CHIPS, 90_017_000)}
_START = 1_000_000_000  # microseconds, time of a sequence's first frame
_LIDAR_RINGS, _LIDAR_STEPS, _LIDAR_FIELD = 16, 1080, np.deg2rad(66.5)
_SPEED_ID, _STEERING_ID = 0x1A0, 0x0C2


def sequence_name(options: RadialSynthOptions, number: int) -> str:
    """Folder of a sequence. The last sequences have names of the official validation and test splits."""
    first_test = options.sequences - options.test_count
    first_val = first_test - options.validation_count
    if number >= first_test:
        return PREFIX + TEST_SEQUENCES[number - first_test]
    if number >= first_val:
        return PREFIX + VAL_SEQUENCES[number - first_val]
    return f"{PREFIX}2020-01-{1 + number // 60 % 28:02d}_{10 + number // 1680:02d}.{number % 60:02d}.00"


@dataclass
class _Event:
    time: int  # true time, microseconds
    sensor: str
    sample: int
    data: bytes


@dataclass
class _Annotations:
    """Annotations of a frame.

    ``boxes`` (n, 9) in the radar frame; ``speed`` (n,) away from the radar [m/s]; ``pixels`` (n, 4) x1 y1 x2 y2 in the
    picture; ``power`` (n,) [dB].
    """

    boxes: Array
    speed: Array
    pixels: NDArray[np.int64]
    power: Array = field(default_factory=lambda: np.empty(0))


class SequenceWriter:
    """Simulates a sequence and writes its folder into ``root``."""

    def __init__(self, options: RadialSynthOptions, number: int, root: Path) -> None:
        self.options, self.number, self.root = options, number, root
        self.folder = root / sequence_name(options, number)
        self.radar = describe(options)
        self.antenna = build_antenna(options.seed)
        self.calibration = draw_calibration(options.seed, options.image_size)
        self.world = build_world(options, number)
        self.lens = build_lens(self.calibration, options.image_size)
        resolution = 0.06 if options.image_size[0] > 1000 and max(self.world.size) < 300 else 0.1
        self.ground = paint_ground(self.world.road, self.world.size, resolution, self._rng("ground"))
        self.stage = Stage.of(self.world, self.ground, build_light(options.seed, 100_000 + number))
        self.lidar = Lidar(
            np.array([0.0, 0.0, RADAR_HEIGHT]), np.deg2rad(np.linspace(-5, 5, _LIDAR_RINGS)), _LIDAR_STEPS, yaw=0.0
        )
        self.events: list[_Event] = []

    def write(self) -> dict[str, Any]:
        """Write the folder; return the rows of its label tables, without sample numbers, as JSON values."""
        annotations = []
        first = 1000 + 4 * int(self._rng("samples").integers(1000))
        self._stray_master(first - 4)
        for frame in range(self.options.frames):
            time = frame * self.options.period
            annotations.append(self._radar_frame(frame, first + 4 * frame, time))
        for event in range(self.options.frames * self.options.oversample):
            self._other_sensors(event, event * self.options.period / self.options.oversample)
        self._save()
        return {
            "labels": [self._labels(frame, frame_annotations) for frame, frame_annotations in enumerate(annotations)],
            "boxes": [_box_rows(frame_annotations) for frame_annotations in annotations],
        }

    def _rng(self, *parts: int | str) -> np.random.Generator:
        return generator(self.options.seed, "synth radial", self.number, *parts)

    def _stray_master(self, sample: int) -> None:
        """Add a master event without partners, which readers drop: real recordings begin in the middle of a frame."""
        silence = np.zeros(self.radar.values_per_chip, "<i2")
        self.events.append(_Event(_START - round(self.options.period * 1e6), MASTER, sample, silence.tobytes()))

    def _radar_frame(self, frame: int, sample: int, time: float) -> _Annotations:
        picture = self.stage.look(low_resolution(self.lens.camera), time, count=True)
        count = len(self.world.actors)
        visible, pixels = np.zeros(count), np.zeros(count)
        visible[picture.seen] = picture.visible / np.maximum(picture.whole, 1)
        pixels[picture.seen] = picture.visible
        scatterers = echoes.collect(self.world, self.options.seed, self.number, frame, time, visible)
        level = radar.noise_level(self.options.noise, self.options.samples, self.options.chirps)
        chips = radar.simulate(scatterers, self.antenna, self.radar, level, self._rng("noise", frame))
        stamp = _START + round(time * 1e6)
        for name, step in {MASTER: 0, **PARTNERS}.items():
            self.events.append(_Event(stamp, name, sample + step, chips[RADAR_CHIPS.index(name)].tobytes()))
        return self._annotate(time, visible, pixels, scatterers)

    def _other_sensors(self, event: int, time: float) -> None:
        """Add events of camera, lidar, CAN and GPS, each up to 8 ms before or after the radar frame."""
        rng = self._rng("jitter", event)
        for sensor, encode in self._makers().items():
            delay = 0.0 if event == 0 else round(float(rng.uniform(-0.008, 0.008)), 6)
            event_time = max(0.0, time + delay)
            self.events.append(_Event(_START + round(event_time * 1e6), sensor, event, encode(event, event_time)))

    def _makers(self) -> dict[str, Callable[[int, float], bytes]]:
        return {CAMERA: self._picture, LIDAR: self._scan, CAN: self._can, GPS: self._gps}

    def _picture(self, event: int, time: float) -> bytes:
        image = self.stage.photograph(self.lens, time)
        success, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.options.jpeg_quality])
        if not success:
            raise RuntimeError("OpenCV could not encode a picture")
        return bytes(data.tobytes())

    def _scan(self, event: int, time: float) -> bytes:
        bodies = [actor.body for actor in self.world.actors]
        poses, ego = self.world.poses(time), self.world.ego_pose(time)
        points = scan(self.lidar, ego, bodies, poses, self.ground, self._rng("scan", event))
        azimuth = np.arctan2(points[:, 1], points[:, 0])
        points, azimuth = points[np.abs(azimuth) <= _LIDAR_FIELD], azimuth[np.abs(azimuth) <= _LIDAR_FIELD]
        distance = np.linalg.norm(points[:, :3], axis=1)
        returns = np.zeros(len(points), SCALA)
        returns["values"] = np.concatenate(
            [points[:, :4], np.stack([distance, np.arcsin(points[:, 2] / distance), azimuth], 1)], 1
        )
        returns["bytes"][:, 0] = points[:, 4]
        return returns.tobytes()

    def _can(self, event: int, time: float) -> bytes:
        """Two messages: speed in cm/s and yaw rate in mrad/s, each in the first two bytes, big-endian."""
        before, after = self.world.ego_pose(time - 0.05), self.world.ego_pose(time + 0.05)
        speed = float(np.hypot(*(after[:2] - before[:2]))) / 0.1
        yaw_rate = float((after[2] - before[2] + np.pi) % (2 * np.pi) - np.pi) / 0.1
        messages = np.zeros(2, CAN_MESSAGE)
        messages["time"] = _START + round(time * 1e6)
        messages["id"] = _SPEED_ID, _STEERING_ID
        for row, value in enumerate((round(speed * 100), round(yaw_rate * 1000))):
            messages["data"][row, :2] = np.frombuffer(int(value).to_bytes(2, "big", signed=True), np.uint8)
        return messages.tobytes()

    def _gps(self, event: int, time: float) -> bytes:
        x, y, yaw = self.world.ego_pose(time)
        return f"{_START + round(time * 1e6)} {x:.3f} {y:.3f} {yaw:.6f}\n".encode("ascii")

    def _save(self) -> None:
        """Write the sensor files, and the log, ordered by time of issue."""
        self.folder.mkdir(parents=True, exist_ok=True)
        order = sorted(self.events, key=lambda event: (event.time, event.sensor))
        files = {sensor: open(sensor_file(self.folder, sensor), "wb") for sensor in _CLOCKS}  # noqa: SIM115
        lines = []
        try:
            for event in order:
                offset = files[event.sensor].tell()
                files[event.sensor].write(event.data)
                issue = event.time - DELAYS.get(event.sensor, 0)
                stamp = event.time + _CLOCKS[event.sensor]
                lines.append((issue, _log_line(stamp, issue, event.sample, event.sensor, offset, len(event.data))))
        finally:
            for file in files.values():
                file.close()
        lines.sort(key=lambda line: line[0])
        log_file(self.folder).write_text("".join(text for _, text in lines), encoding="ascii")

    def _annotate(self, time: float, visible: Array, visible_pixels: Array, scatterers: echoes.Echoes) -> _Annotations:
        """The vehicles that are labelled, nearest first."""
        now, soon = self.world.seen_from_ego(time), self.world.seen_from_ego(time + 0.01)
        boxes, speeds, powers = [], [], []
        for i, actor in enumerate(self.world.actors):
            x, y, yaw = now[i]
            distance = float(np.hypot(x, y))
            if not (actor.is_vehicle and x > 1.0 and distance < self.options.reach and abs(np.arctan2(y, x)) < FIELD):
                continue
            if visible[i] < SEEN_SHARE or visible_pixels[i] < SEEN_PIXELS:
                continue
            length, width, height = actor.body.size
            boxes.append([x, y, height / 2 - RADAR_HEIGHT, length, width, height, yaw, 0.0, 0.0])
            speeds.append((float(np.hypot(*soon[i, :2])) - distance) / 0.01)
            powers.append(10 * np.log10(scatterers.area[scatterers.owner == i].sum() / distance**4))
        order = np.argsort([np.hypot(*box[:2]) for box in boxes], kind="stable")
        array = np.array(boxes).reshape(-1, 9)[order]
        pixels = _pixel_boxes(self.calibration, array, self.options.image_size)
        return _Annotations(array, np.array(speeds)[order], pixels, np.array(powers)[order])

    def _labels(self, frame: int, annotations: _Annotations) -> list[list[str]]:
        """Rows of labels.csv from x1_pix on."""
        tail = [self.folder.name, str(frame), "0"]
        if not len(annotations.boxes):
            return [["-1"] * 13 + tail]
        rows = []
        for box, speed, pixels, power in zip(
            annotations.boxes, annotations.speed, annotations.pixels, annotations.power, strict=True
        ):
            corners = box_corners(box[None])[0, :4]
            near = corners[np.argmin(np.hypot(*corners[:, :2].T))]
            distance = float(np.hypot(near[0], near[1]))
            values = [*near, -near[1], near[0], distance, np.degrees(np.arctan2(-near[1], near[0])), speed, power]
            rows.append([*(str(int(pixel)) for pixel in pixels), *map(_text, values), *tail])
        return rows


def describe(options: RadialSynthOptions) -> RadarDescription:
    """The description of the generated radar."""
    return replace(RADIAL_RADAR, samples=options.samples, chirps=options.chirps)


def _box_rows(annotations: _Annotations) -> list[list[str]]:
    """Rows of radial_bbox_labels.csv from X on."""
    if not len(annotations.boxes):
        return [["-1"] * 8]
    return [[*map(_text, box[:7]), "0"] for box in annotations.boxes]


def _text(value: float) -> str:
    """The number with four decimals; -0 becomes 0."""
    return f"{round(float(value), 4) + 0.0:.4f}"


def _log_line(stamp: int, issue: int, sample: int, sensor: str, offset: int, size: int) -> str:
    return (
        f"timestamp: {stamp} - timeofissue: {issue} - sample: {sample} - sensor: {sensor}"
        f" - offset: {offset} - size: {size}\n"
    )


def _pixel_boxes(calibration: CameraCalibration, boxes: Array, size: tuple[int, int]) -> NDArray[np.int64]:
    """(n, 4) x1 y1 x2 y2 around each box in the picture."""
    pixels = np.zeros((len(boxes), 4), np.int64)
    for row, corners in enumerate(box_corners(boxes)):
        uvd = calibration.project(corners)
        uv = np.clip(np.round(uvd[uvd[:, 2] > 0.2, :2]), 0, [size[0] - 1, size[1] - 1])
        pixels[row] = *uv.min(0), *uv.max(0)
    return pixels
