"""The tables of a version as arrays: samples, key frames, calibrations, poses, boxes. May import: tables, errors."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.data.nuscenes.tables import (
    LIDAR,
    Annotation,
    CalibratedSensor,
    EgoPose,
    Instance,
    Named,
    Sample,
    SampleData,
    Sensor,
    follow,
    rows,
)
from portbev.errors import DataError

MAX_TIME_DIFFERENCE = 1.5
"""Seconds between two annotations of an object beyond which they give no velocity (twice that around a middle one)."""


@dataclass(frozen=True)
class Index:
    """All scenes of a version. Samples are ordered by scene (table order), then by time.

    S samples, C channels (the cameras and LIDAR_TOP), F frames, K calibrations, G boxes. Strings are UTF-8 bytes.

    Attributes:
        scenes: names of the scenes.
        sample_token, sample_scene, sample_time: (S,) token, index into ``scenes``, microseconds.
        channels: (C,) channel names.
        key_frames: (S, C) row of the key frame in the ``frame_*`` arrays, -1 where there is none.
        frame_file: (F,) path below the data root. frame_sample, frame_channel, frame_calibration: (F,) indices.
        frame_time: (F,) microseconds. frame_rotation (F, 4), frame_translation (F, 3): ego pose, ego to global.
        calibration_rotation (K, 4), calibration_translation (K, 3): sensor to ego; calibration_intrinsic (K, 3, 3), zero for lidar.
        box_start: (S + 1,) the boxes of sample s are the rows box_start[s] to box_start[s + 1].
        box_category: (G,) index into ``categories``. box_instance: (G,) a number per object, the same in all samples.
        box_translation (G, 3) centre, box_size (G, 3) width, length, height, box_rotation (G, 4): global frame.
        box_velocity: (G, 3) m/s, global, NaN where unknown. box_points: (G, 2) lidar and radar points inside.
        box_attribute: (G,) index into ``attributes``, -1 for none.
    """

    scenes: NDArray[np.bytes_]
    sample_token: NDArray[np.bytes_]
    sample_scene: NDArray[np.int32]
    sample_time: NDArray[np.float64]
    channels: NDArray[np.bytes_]
    key_frames: NDArray[np.int64]
    frame_file: NDArray[np.bytes_]
    frame_sample: NDArray[np.int32]
    frame_channel: NDArray[np.int16]
    frame_calibration: NDArray[np.int32]
    frame_time: NDArray[np.float64]
    frame_rotation: NDArray[np.float64]
    frame_translation: NDArray[np.float64]
    calibration_rotation: NDArray[np.float64]
    calibration_translation: NDArray[np.float64]
    calibration_intrinsic: NDArray[np.float64]
    categories: NDArray[np.bytes_]
    attributes: NDArray[np.bytes_]
    box_start: NDArray[np.int64]
    box_category: NDArray[np.int16]
    box_instance: NDArray[np.int64]
    box_translation: NDArray[np.float64]
    box_size: NDArray[np.float64]
    box_rotation: NDArray[np.float64]
    box_velocity: NDArray[np.float64]
    box_points: NDArray[np.int32]
    box_attribute: NDArray[np.int16]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def channel(self, name: str) -> int:
        """Column of a channel in ``key_frames``.

        Raises:
            DataError: the version has no such channel.
        """
        names = [channel.decode() for channel in self.channels]
        if name not in names:
            raise DataError(f"no sensor {name!r} in the tables", where="sensor.json", cure=f"Known: {', '.join(names)}")
        return names.index(name)

    def samples_of(self, scenes: tuple[str, ...]) -> NDArray[np.int64]:
        """Samples of the named scenes, in the index's order."""
        wanted = {name.encode() for name in scenes}
        chosen = np.array([name in wanted for name in self.scenes.tolist()], bool)
        return np.flatnonzero(chosen[self.sample_scene]) if len(self.scenes) else np.zeros(0, np.int64)

    def previous(self, sample: int, steps: int) -> int | None:
        """The sample ``steps`` key frames before, in the same scene; None where there is none."""
        before = sample - steps
        return before if before >= 0 and self.sample_scene[before] == self.sample_scene[sample] else None

    def sweeps(self, sample: int, channel: str, count: int) -> list[int]:
        """Frames of a channel before a sample's key frame, newest first, in the same scene; key frames among them too.

        Fewer than ``count`` at the beginning of a scene. The index must have been built with sweeps.
        """
        column = self.channel(channel)
        key = int(self.key_frames[sample, column])
        if key < 0:
            return []
        same_scene = self.sample_scene[self.frame_sample] == self.sample_scene[sample]
        earlier = (self.frame_channel == column) & same_scene & (self.frame_time < self.frame_time[key])
        found = np.flatnonzero(earlier)
        return [int(row) for row in found[np.argsort(-self.frame_time[found], kind="stable")][:count]]


def build_index(folder: Path, *, sweeps: bool = False) -> Index:
    """Read the tables in ``folder``.

    Args:
        folder: ``<data root>/<version>``.
        sweeps: index the frames between key frames as well (thirteen times as many in the official data).

    Raises:
        DataError: a missing or damaged table, a missing field, a token that points nowhere, a number that is not finite.
    """
    scenes = list(rows(folder, "scene", Named))
    scene_of = {row.token: place for place, row in enumerate(scenes)}
    samples = list(rows(folder, "sample", Sample))
    scene_index = [follow(scene_of, row.scene_token, folder, f"sample {row.token} -> scene") for row in samples]
    order = sorted(range(len(samples)), key=lambda i: (scene_index[i], samples[i].timestamp))
    position = {samples[i].token: place for place, i in enumerate(order)}
    return Index(
        scenes=_bytes([scene.name for scene in scenes]),
        sample_token=_bytes([samples[i].token for i in order]),
        sample_scene=np.array([scene_index[i] for i in order], np.int32),
        sample_time=np.array([samples[i].timestamp for i in order], np.float64),
        **_frames(folder, position, sweeps),
        **_boxes(folder, position, {row.token: row.timestamp for row in samples}),
    )


def _frames(folder: Path, position: dict[str, int], sweeps: bool) -> dict[str, NDArray[Any]]:
    sensors = {row.token: row.channel for row in rows(folder, "sensor", Sensor) if row.modality == "camera" or row.channel == LIDAR}
    channels = sorted(set(sensors.values()))
    calibrated = list(rows(folder, "calibrated_sensor", CalibratedSensor, lambda row: row.sensor_token in sensors))
    calibration_of = {row.token: place for place, row in enumerate(calibrated)}
    channel_of = [channels.index(sensors[row.sensor_token]) for row in calibrated]

    def wanted(row: SampleData) -> bool:
        return (row.is_key_frame or sweeps) and row.calibrated_sensor_token in calibration_of

    frames = list(rows(folder, "sample_data", SampleData, wanted))
    needed = {row.ego_pose_token for row in frames}
    poses = {row.token: row for row in rows(folder, "ego_pose", EgoPose, lambda row: row.token in needed)}
    pose = [follow(poses, row.ego_pose_token, folder, f"sample_data {row.token} -> ego_pose") for row in frames]
    sample = [follow(position, row.sample_token, folder, f"sample_data {row.token} -> sample") for row in frames]
    calibration = np.array([calibration_of[row.calibrated_sensor_token] for row in frames], np.int32)
    channel = np.array(channel_of, np.int16)[calibration]
    key_frames = np.full((len(position), len(channels)), -1, np.int64)
    is_key = np.array([row.is_key_frame for row in frames], bool)
    key_frames[np.array(sample, np.int64)[is_key], channel[is_key]] = np.flatnonzero(is_key)
    return {
        "channels": _bytes(channels),
        "key_frames": key_frames,
        "frame_file": _bytes([row.filename for row in frames]),
        "frame_sample": np.array(sample, np.int32),
        "frame_channel": channel,
        "frame_calibration": calibration,
        "frame_time": np.array([row.timestamp for row in frames], np.float64),
        "frame_rotation": _numbers([row.rotation for row in pose], 4, [row.token for row in pose], folder / "ego_pose.json"),
        "frame_translation": _numbers([row.translation for row in pose], 3, [row.token for row in pose], folder / "ego_pose.json"),
        **_calibrations(folder, calibrated, np.array([channels[place] != LIDAR for place in channel_of], bool)),
    }


def _calibrations(folder: Path, calibrated: list[CalibratedSensor], camera: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    path, tokens = folder / "calibrated_sensor.json", [row.token for row in calibrated]
    intrinsic = np.zeros((len(calibrated), 3, 3))
    for place in np.flatnonzero(camera):
        given = calibrated[place].camera_intrinsic
        if len(given) != 3 or any(len(line) != 3 for line in given):
            raise DataError(f"row with token {tokens[place]}: camera_intrinsic is not 3 x 3", where=str(path))
        intrinsic[place] = given
    return {
        "calibration_rotation": _numbers([row.rotation for row in calibrated], 4, tokens, path),
        "calibration_translation": _numbers([row.translation for row in calibrated], 3, tokens, path),
        "calibration_intrinsic": intrinsic,
    }


def _boxes(folder: Path, position: dict[str, int], times: dict[str, float]) -> dict[str, NDArray[Any]]:
    categories, attributes = list(rows(folder, "category", Named)), list(rows(folder, "attribute", Named))
    category_of = {row.token: place for place, row in enumerate(categories)}
    attribute_of = {row.token: place for place, row in enumerate(attributes)}
    path = folder / "sample_annotation.json"
    if not path.exists() and folder.name.endswith("test"):
        found, instances = [], {}  # the official test set has no annotations
    else:
        found = list(rows(folder, "sample_annotation", Annotation))
        instances = {row.token: (place, row.category_token) for place, row in enumerate(rows(folder, "instance", Instance))}
    velocity = _velocities(folder, found, times)
    sample = np.array([follow(position, row.sample_token, folder, f"sample_annotation {row.token} -> sample") for row in found], np.int64)
    linked = [follow(instances, row.instance_token, folder, f"sample_annotation {row.token} -> instance") for row in found]
    category = [follow(category_of, token, folder, "an instance -> category") for _, token in linked]
    for row in found:
        if len(row.attribute_tokens) > 1:
            raise DataError(f"annotation {row.token} has {len(row.attribute_tokens)} attributes, at most 1 is allowed", where=str(path))
    attribute = [
        follow(attribute_of, row.attribute_tokens[0], folder, f"sample_annotation {row.token} -> attribute") if row.attribute_tokens else -1
        for row in found
    ]
    tokens = [row.token for row in found]
    columns = {
        "box_category": np.array(category, np.int16),
        "box_instance": np.array([place for place, _ in linked], np.int64),
        "box_translation": _numbers([row.translation for row in found], 3, tokens, path),
        "box_size": _numbers([row.size for row in found], 3, tokens, path),
        "box_rotation": _numbers([row.rotation for row in found], 4, tokens, path),
        "box_velocity": velocity,
        "box_points": np.array([(row.num_lidar_pts, row.num_radar_pts) for row in found], np.int32).reshape(-1, 2),
        "box_attribute": np.array(attribute, np.int16),
    }
    order = np.argsort(sample, kind="stable")
    start = np.zeros(len(position) + 1, np.int64)
    np.cumsum(np.bincount(sample, minlength=len(position)), out=start[1:])
    names = {"categories": _bytes([row.name for row in categories]), "attributes": _bytes([row.name for row in attributes])}
    return {**names, "box_start": start, **{name: column[order] for name, column in columns.items()}}


def _velocities(folder: Path, found: list[Annotation], times: dict[str, float]) -> NDArray[np.float64]:
    """(G, 3) velocity [m/s]: the central difference between an object's neighbouring annotations, one-sided at its ends."""
    if not found:
        return np.zeros((0, 3))
    by_token = {row.token: row for row in found}
    ends: dict[str, list[Annotation]] = defaultdict(list)
    for row in found:
        for side in ("prev", "next"):
            token = getattr(row, side)
            link = f"sample_annotation {row.token} -> sample_annotation"
            ends[side].append(follow(by_token, token, folder, link) if token else row)
    seconds = {side: np.array([times.get(row.sample_token, np.nan) for row in ends[side]]) * 1e-6 for side in ends}
    centre = {side: np.array([row.translation for row in ends[side]], np.float64) for side in ends}
    elapsed = seconds["next"] - seconds["prev"]
    middle = np.array([bool(row.prev and row.next) for row in found])
    limit = np.where(middle, 2 * MAX_TIME_DIFFERENCE, MAX_TIME_DIFFERENCE)
    known = np.array([bool(row.prev or row.next) for row in found]) & (elapsed > 0) & (elapsed <= limit)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known[:, None], (centre["next"] - centre["prev"]) / elapsed[:, None], np.nan)


def _numbers(values: list[Any], width: int, tokens: list[str], path: Path) -> NDArray[np.float64]:
    """(n, width) finite numbers; quaternions (width 4) must not be zero."""
    array = np.array(values, np.float64).reshape(-1, width)
    good = np.isfinite(array).all(1)
    if width == 4:
        good &= np.abs(array).sum(1) > 0
    if not good.all():
        bad = int(np.flatnonzero(~good)[0])
        what = "is not a rotation" if width == 4 else "has a number that is not finite"
        raise DataError(f"row with token {tokens[bad]} {what}: {values[bad]}", where=str(path))
    return array


def _bytes(texts: list[str]) -> NDArray[np.bytes_]:
    return np.array([text.encode() for text in texts], dtype=np.bytes_ if texts else "S1")
