"""Build an index (scenes, samples, frames, boxes) from the JSON tables of a version."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_nuscenes.tables.annotations import annotated_boxes
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.rows import (
    LIDAR,
    CalibratedSensor,
    EgoPose,
    Named,
    Sample,
    SampleData,
    Sensor,
    check_unique,
    encoded,
    follow,
    numbers,
    rows,
)


def build_index(folder: DataPath, *, sweeps: bool = False) -> Index:
    """Read the tables in ``folder``.

    Args:
        folder: ``<data root>/<version>``.
        sweeps: index the frames between key frames as well (thirteen times as many in the official data).

    Raises:
        DataError: a missing or damaged table, a missing field, a token without a row, a number that is not finite.
    """
    scenes = list(rows(folder, "scene", Named))
    check_unique([row.token for row in scenes], folder, "scene")
    scene_position = {row.token: i for i, row in enumerate(scenes)}
    samples = list(rows(folder, "sample", Sample))
    check_unique([row.token for row in samples], folder, "sample")
    scene_index = follow(scene_position, [(row.token, row.scene_token) for row in samples], folder, "sample", "scene")
    tokens = [row.token for row in samples]
    times = numbers([row.timestamp for row in samples], 1, tokens, folder / "sample.json")[:, 0]
    order = sorted(range(len(samples)), key=lambda i: (scene_index[i], samples[i].timestamp))
    position = {samples[i].token: row for row, i in enumerate(order)}
    return Index(
        scenes=encoded([scene.name for scene in scenes]),
        sample_token=encoded([samples[i].token for i in order]),
        sample_scene=np.array([scene_index[i] for i in order], np.int32),
        sample_time=times[order],
        sample_before=np.array([_before(samples[i], position) for i in order], np.int64),
        **_frames(folder, position, sweeps),
        **annotated_boxes(folder, position, {row.token: row.timestamp for row in samples}),
    )


def _before(sample: Sample, position: dict[str, int]) -> int:
    """Index of the sample that ``prev`` names; -1 where it names none, -2 where no such sample exists."""
    return position.get(sample.prev, -2) if sample.prev else -1


def _frames(folder: DataPath, position: dict[str, int], sweeps: bool) -> dict[str, NDArray[Any]]:
    """The columns of an index about channels, frames, ego poses and calibrations."""

    def is_used(sensor: Sensor) -> bool:
        return sensor.modality == "camera" or sensor.channel == LIDAR

    sensors = {row.token: row.channel for row in rows(folder, "sensor", Sensor, is_used)}
    channels = sorted(set(sensors.values()))
    calibrated = list(rows(folder, "calibrated_sensor", CalibratedSensor, lambda row: row.sensor_token in sensors))
    calibration_index = {row.token: i for i, row in enumerate(calibrated)}
    calibration_channel = [channels.index(sensors[row.sensor_token]) for row in calibrated]

    def is_wanted(row: SampleData) -> bool:
        return (row.is_key_frame or sweeps) and row.calibrated_sensor_token in calibration_index

    frames = list(rows(folder, "sample_data", SampleData, is_wanted))
    check_unique([row.token for row in frames], folder, "sample_data")
    needed = {row.ego_pose_token for row in frames}
    poses = {row.token: row for row in rows(folder, "ego_pose", EgoPose, lambda row: row.token in needed)}
    pose = follow(poses, [(row.token, row.ego_pose_token) for row in frames], folder, "sample_data", "ego_pose")
    tokens = [row.token for row in pose]
    sample = follow(position, [(row.token, row.sample_token) for row in frames], folder, "sample_data", "sample")
    calibration = np.array([calibration_index[row.calibrated_sensor_token] for row in frames], np.int32)
    channel = np.array(calibration_channel, np.int16)[calibration]
    key_frames = np.full((len(position), len(channels)), -1, np.int64)
    is_key = np.array([row.is_key_frame for row in frames], bool)
    key_frames[np.array(sample, np.int64)[is_key], channel[is_key]] = np.flatnonzero(is_key)
    return {
        "channels": encoded(channels),
        "key_frames": key_frames,
        "frame_file": encoded([row.filename for row in frames]),
        "frame_sample": np.array(sample, np.int32),
        "frame_channel": channel,
        "frame_calibration": calibration,
        "frame_size": _sizes(frames),
        "frame_time": numbers(
            [row.timestamp for row in frames], 1, [row.token for row in frames], folder / "sample_data.json"
        )[:, 0],
        "frame_rotation": numbers([row.rotation for row in pose], 4, tokens, folder / "ego_pose.json"),
        "frame_translation": numbers([row.translation for row in pose], 3, tokens, folder / "ego_pose.json"),
        **_calibrations(folder, calibrated, np.array([channels[i] != LIDAR for i in calibration_channel], bool)),
    }


def _sizes(frames: list[SampleData]) -> NDArray[np.int32]:
    """(F, 2) width and height that the tables give, 0 where there is none or one that cannot be a number of pixels."""
    sizes = np.array([(row.width or 0, row.height or 0) for row in frames], np.float64).reshape(-1, 2)
    return np.where((sizes > 0) & (sizes < 2**31), sizes, 0).astype(np.int32)


def _calibrations(
    folder: DataPath, calibrated: list[CalibratedSensor], is_camera: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    path, tokens = folder / "calibrated_sensor.json", [row.token for row in calibrated]
    intrinsic = np.zeros((len(calibrated), 3, 3))
    for i in np.flatnonzero(is_camera):
        matrix = calibrated[i].camera_intrinsic
        if len(matrix) != 3 or any(len(row) != 3 for row in matrix):
            raise DataError(f"row with token {tokens[i]}: camera_intrinsic is not 3 x 3", where=str(path))
        intrinsic[i] = matrix
    used = np.flatnonzero(is_camera)
    numbers(intrinsic[used].tolist(), 9, [tokens[i] for i in used], path)
    flat = used[(intrinsic[used, [0], [0]] <= 0) | (intrinsic[used, [1], [1]] <= 0)]
    if len(flat):
        raise DataError(f"row with token {tokens[flat[0]]}: a focal length is not positive", where=str(path))
    return {
        "calibration_rotation": numbers([row.rotation for row in calibrated], 4, tokens, path),
        "calibration_translation": numbers([row.translation for row in calibrated], 3, tokens, path),
        "calibration_intrinsic": intrinsic,
    }
