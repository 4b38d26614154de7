"""Recordings: what each sensor's reader gives, and that a damaged file costs its own frame alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from radial_recordings import TINY, TRAIN, Event, contents, copy_of, radar_frame, write_log

from portbev.errors import DataError
from portbev_radial.recordings.layout import CAMERA, LIDAR, RADAR_CHIPS, sensor_file, split_of
from portbev_radial.recordings.raw import RawRoot
from portbev_radial.recordings.recording import Recording
from portbev_radial.recordings.sensors import CAN_MESSAGE, SCALA, read_can, read_jpeg, read_lidar, read_radar_chip

VALUES = 2 * TINY.samples * 4 * TINY.chirps


@pytest.fixture
def damaged(recordings: Path, tmp_path: Path) -> Path:
    return copy_of(recordings, tmp_path / "copy")


def test_radar_samples_are_little_endian_int16_at_the_offset(tmp_path: Path) -> None:
    path = tmp_path / "radar.bin"
    path.write_bytes(b"\x99\x99" + np.array([1, -2, 300, -32768], "<i2").tobytes())
    assert read_radar_chip(path, 2, 8, 4).tolist() == [1, -2, 300, -32768]
    with pytest.raises(DataError, match="expected 6"):
        read_radar_chip(path, 2, 8, 3)


def test_lidar_returns_are_seven_floats_and_four_bytes(tmp_path: Path) -> None:
    path = tmp_path / "scala.bin"
    returns = np.zeros(2, SCALA)
    returns["values"][1] = [1.5, -2, 0.25, 9, 3, 0.1, -0.2]
    returns["bytes"][1] = [13, 255, 0, 7]
    path.write_bytes(returns.tobytes())
    assert SCALA.itemsize == 32
    points = read_lidar(path, 0, 64)
    assert points.dtype == np.float32 and points.shape == (2, 11)
    assert points[1].tolist() == np.float32([1.5, -2, 0.25, 9, 3, 0.1, -0.2, 13, 255, 0, 7]).tolist()
    with pytest.raises(DataError, match="no multiple of 32"):
        read_lidar(path, 0, 63)


def test_can_messages_are_a_time_an_identifier_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "can.bin"
    path.write_bytes((77).to_bytes(8, "little") + (0x1A0).to_bytes(4, "little") + bytes(range(12)))
    assert CAN_MESSAGE.itemsize == 24
    (message,) = read_can(path, 0, 24)
    assert (message["time"], message["id"], message["data"].tolist()) == (77, 0x1A0, list(range(8)))


def test_a_truncated_picture_is_refused_not_filled_with_grey(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    data = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "camera.mjpg").write_bytes(data[:-40] + bytes(40))
    with pytest.raises(DataError, match="damaged or truncated"):
        read_jpeg(tmp_path / "camera.mjpg", 0, len(data))


def test_every_sensor_of_a_frame_is_read(recordings: Path) -> None:
    recording = Recording(recordings / TRAIN)
    assert len(recording) == TINY.frames
    for index in range(TINY.frames):
        assert recording.radar(index, VALUES).shape == (4, VALUES)
        assert recording.camera(index).shape == (64, 96, 3)
        assert recording.lidar(index).shape[1] == 11
        assert len(recording.can(index)) == 2
    assert recording.time(1) - recording.time(0) == 200_000


def test_the_frame_that_a_recording_begins_with_has_no_partners_and_is_told(recordings: Path) -> None:
    recording = Recording(recordings / TRAIN)
    (line,) = recording.dropped
    assert "radar_ch0 has no sample" in str(line) and not recording.problems


def test_reading_decodes_only_what_is_asked_for(damaged: Path) -> None:
    sensor_file(damaged / TRAIN, CAMERA).unlink()
    recording = Recording(damaged / TRAIN)
    assert recording.radar(0, VALUES).any()
    with pytest.raises(DataError, match=r"_camera\.mjpg: file is missing"):
        recording.camera(0)


def test_reading_writes_nothing(recordings: Path) -> None:
    before = contents(recordings)
    times = {path: path.stat().st_mtime_ns for path in recordings.rglob("*")}
    root = RawRoot(recordings)
    for label in root.usable(list(root.labels.values()), (*RADAR_CHIPS, CAMERA, LIDAR)):
        root.radar_samples(label), root.picture(label), root.lidar(label)
    assert contents(recordings) == before
    assert {path: path.stat().st_mtime_ns for path in recordings.rglob("*")} == times


@pytest.mark.parametrize("sensor", [*RADAR_CHIPS, CAMERA, LIDAR])
def test_a_truncated_file_loses_its_last_frame_alone(damaged: Path, sensor: str) -> None:
    path = sensor_file(damaged / TRAIN, sensor)
    os.truncate(path, path.stat().st_size - (2000 if sensor == LIDAR else 200))
    if sensor in (CAMERA, LIDAR):  # two events a frame: the last one belongs to nobody, so cut the one before it too
        log = Recording(damaged / TRAIN)._log.events[sensor]
        os.truncate(path, int(log.offset[-2] + log.size[-2]) - 10)
    root = RawRoot(damaged)
    good = root.usable(root.of_split("train"), (*RADAR_CHIPS, CAMERA, LIDAR))
    assert [label.number for label in good] == [0, 1]
    (problem,) = root.problems
    assert problem.startswith("sample 000002 is left out: ") and "truncated" in problem and path.name in problem
    for label in good:
        assert root.radar_samples(label).shape == (4, VALUES) and root.picture(label).any() and len(root.lidar(label))


def test_a_missing_sequence_is_one_line_and_the_others_are_there(damaged: Path) -> None:
    (damaged / TRAIN / f"{TRAIN}_events_log.rec").unlink()
    root = RawRoot(damaged)
    good = root.usable(list(root.labels.values()), RADAR_CHIPS)
    assert [label.number for label in good] == [3, 4, 5, 6, 7, 8]
    (problem,) = root.problems
    assert problem.startswith("3 samples are left out: ") and TRAIN in problem


def test_a_label_beyond_the_recording_is_named(recordings: Path) -> None:
    with pytest.raises(DataError, match="frame 99 does not exist: 3 frames are synchronised"):
        Recording(recordings / TRAIN).radar(99, VALUES)


def test_a_radar_event_without_offset_is_a_fault_of_its_frame(tmp_path: Path) -> None:
    folder = tmp_path / "RECORD@x"
    events = [replace(e, offset=None) if e.sensor == "radar_ch2" else e for e in radar_frame(0, 8)]
    write_log(folder, [event.line() for event in events])
    for chip in RADAR_CHIPS:
        sensor_file(folder, chip).write_bytes(bytes(8))
    with pytest.raises(DataError, match=r"_events_log\.rec:3: radar_ch2 event of radar frame 8 has no offset and size"):
        Recording(folder).radar(0, 4)


def test_a_camera_file_that_is_a_video_is_read_by_frame_number(tmp_path: Path) -> None:
    folder = tmp_path / "RECORD@x"
    events = [*radar_frame(0, 0), *radar_frame(100_000, 4)]
    events += [Event(0, "camera", 0, None), Event(100_000, "camera", 2, None)]
    write_log(folder, [event.line() for event in events])
    video = cv2.VideoWriter(str(tmp_path / "video.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    if not video.isOpened():
        pytest.skip("this OpenCV writes no AVI")
    for level in (20, 120, 220):
        video.write(np.full((48, 64, 3), level, np.uint8))
    video.release()
    (tmp_path / "video.avi").rename(sensor_file(folder, CAMERA))
    recording = Recording(folder)
    assert abs(float(recording.camera(0).mean()) - 20) < 3
    assert abs(float(recording.camera(1).mean()) - 220) < 3


def test_splits_follow_the_official_sequences() -> None:
    assert split_of("RECORD@2020-11-22_12.49.56") == "val"
    assert split_of("RECORD@2020-11-22_12.54.38") == "test"
    assert split_of("RECORD@2020-11-21_11.54.31") == "train"
