"""The 18 numbers of ego motion: from files, from poses, and what is said about either."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portbev.data import build_dataset
from portbev.errors import DataError
from portbev.geometry import quaternion_matrix, quaternion_product, yaw_quaternion
from portbev_nuscenes.config import NuscenesQueueData
from portbev_nuscenes.samples import can_bus
from portbev_nuscenes.samples.ego_motion import GRAVITY, motion_from_poses
from portbev_nuscenes.samples.queue import QueueDataset

VERSION = "v1.0-mini"
FIRST = "scene-s0001"
ACCELERATION, RATE, VELOCITY = slice(7, 10), slice(10, 13), slice(13, 16)
Edit = Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]
number = st.floats(-5, 5)


def dataset(root: Path, part: Any = "train", **changes: Any) -> QueueDataset:
    values = {"version": VERSION, "train_split": "synth_train", "eval_split": "synth_val", "augment": False}
    return build_dataset(NuscenesQueueData(**{**values, **changes}), root, part, seed=0)  # type: ignore[return-value]


def vectors(found: QueueDataset) -> Any:
    """(n, 18) of every sample, absolute but for the differences."""
    return np.concatenate([found._history([place])[1] for place in range(len(found))])


def write(root: Path, messages: Any, scene: str = FIRST) -> Path:
    path = can_bus.pose_file(root, scene)
    path.parent.mkdir(exist_ok=True)
    path.write_text(messages if isinstance(messages, str) else json.dumps(messages))
    return path


def message(utime: float, value: float) -> dict[str, Any]:
    zero = [0.0, 0.0, 0.0]
    return {"utime": utime, "accel": zero, "rotation_rate": zero, "vel": [value, 0, 0], "pos": zero, "orientation": [1]}


def times_of(root: Path, scene: str = FIRST) -> list[float]:
    tables = {name: json.loads((root / VERSION / f"{name}.json").read_text()) for name in ("scene", "sample")}
    token = next(row["token"] for row in tables["scene"] if row["name"] == scene)
    return sorted(row["timestamp"] for row in tables["sample"] if row["scene_token"] == token)


def test_orientation_position_and_yaw_are_the_ego_poses(root: Path) -> None:
    found = dataset(root)
    index = found.index
    frames = index.key_frames[found.samples, index.channel("LIDAR_TOP")]
    rotation = index.frame_rotation[frames]
    whole = can_bus.absolute(index.frame_translation[frames], rotation, np.zeros((len(frames), 9)))
    np.testing.assert_array_equal(whole[:, :3], index.frame_translation[frames])
    np.testing.assert_array_equal(whole[:, 3:7], rotation)
    ahead = quaternion_matrix(rotation)[:, :2, 0]
    np.testing.assert_allclose(np.stack([np.cos(whole[:, 16]), np.sin(whole[:, 16])], 1), ahead, atol=1e-12)
    np.testing.assert_allclose(np.degrees(whole[:, 16]), whole[:, 17], rtol=1e-14)
    assert (whole[:, 17] >= 0).all() and (whole[:, 17] < 360).all()


@given(st.lists(st.floats(-np.pi, np.pi), min_size=1, max_size=6), st.data())
def test_differences_are_taken_where_a_frame_continues_and_are_not_wrapped(yaws: list[float], data: Any) -> None:
    count = len(yaws)
    position = np.array(data.draw(st.lists(st.tuples(number, number, number), min_size=count, max_size=count)))
    continues = np.array([False, *data.draw(st.lists(st.booleans(), min_size=count - 1, max_size=count - 1))])
    whole = can_bus.absolute(position, yaw_quaternion(yaws), np.ones((count, 9)))
    before = whole.copy()
    found = can_bus.relative(whole, continues)
    np.testing.assert_array_equal(whole, before)  # in place it would be wrong for a frame that comes twice
    np.testing.assert_array_equal(found[:, 3:17], whole[:, 3:17])
    for i in range(count):
        change = (whole[i] - whole[i - 1])[[0, 1, 2, 17]] if continues[i] else np.zeros(4)
        np.testing.assert_array_equal(found[i, [0, 1, 2, 17]], change)


def test_a_full_turn_gives_nearly_360_degrees_of_difference() -> None:
    whole = can_bus.absolute(np.zeros((2, 3)), yaw_quaternion([-0.01, 0.02]), np.zeros((2, 9)))
    assert can_bus.relative(whole, np.array([False, True]))[1, 17] == pytest.approx(np.degrees(0.03) - 360)


@pytest.mark.parametrize(
    ("time", "official", "fixed"),
    [(5, 10, 10), (10, 20, 10), (15, 20, 10), (20, 30, 20), (29, 30, 20), (30, 30, 30), (99, 30, 30)],
)
def test_official_motion_is_the_next_messages_and_fixed_the_last_ones(time: float, official: int, fixed: int) -> None:
    stamps = np.array([10.0, 20.0, 30.0])
    motion = np.repeat(stamps[:, None], 9, 1)
    assert can_bus.motion_at([time], stamps, motion)[0, 0] == official
    assert can_bus.motion_at([time], stamps, motion, "fixed")[0, 0] == fixed


def test_the_quirk_is_a_setting(copy: Path) -> None:
    stamps = times_of(copy)
    write(copy, [message(stamp + offset, i) for i, stamp in enumerate(stamps) for offset in (-20_000, 20_000)])
    assert vectors(dataset(copy))[:3, 13].tolist() == [0, 1, 2]
    write(copy, [message(stamps[0] - 10, 7), message(stamps[1] - 10, 8), message(stamps[2] - 10, 9)])
    assert vectors(dataset(copy))[:3, 13].tolist() == [8, 9, 9]
    assert vectors(dataset(copy, quirks="fixed"))[:3, 13].tolist() == [7, 8, 9]


def test_files_and_poses_say_the_same_of_the_same_drive(root: Path) -> None:
    files, poses = (vectors(dataset(root, can_bus=source)) for source in ("files", "poses"))
    np.testing.assert_array_equal(files[:, 3:7], poses[:, 3:7])
    np.testing.assert_array_equal(files[:, 16:], poses[:, 16:])
    assert np.abs(files[:, VELOCITY]).max() > 2
    np.testing.assert_allclose(poses[:, VELOCITY], files[:, VELOCITY], atol=0.1)
    np.testing.assert_allclose(poses[:, RATE], files[:, RATE], atol=0.01)
    np.testing.assert_allclose(poses[:, ACCELERATION], files[:, ACCELERATION], atol=0.5)
    assert not np.array_equal(poses[:, ACCELERATION], files[:, ACCELERATION])


def test_what_was_used_is_noted_per_scene(root: Path, copy: Path) -> None:
    def notes(**changes: Any) -> list[str]:
        return [note for note in dataset(copy, **changes).notes if note.startswith("CAN bus")]

    assert notes() == ["CAN bus: read from can_bus/ for 2 scenes (scene-s0001, scene-s0002)"]
    assert notes(can_bus="poses") == ["CAN bus: derived from ego poses for 2 scenes (scene-s0001, scene-s0002)"]
    can_bus.pose_file(copy, FIRST).unlink()
    assert notes() == [
        "CAN bus: read from can_bus/ for 1 scene (scene-s0002)",
        "CAN bus: derived from ego poses for 1 scene (scene-s0001)",
    ]
    np.testing.assert_array_equal(vectors(dataset(copy))[:3], vectors(dataset(root, can_bus="poses"))[:3])
    np.testing.assert_array_equal(vectors(dataset(copy))[3:], vectors(dataset(root))[3:])
    assert notes(can_bus="files")[1] == (
        "CAN bus: no file, so acceleration, rotation rate and velocity are 0 for 1 scene (scene-s0001)"
    )
    original = vectors(dataset(copy, can_bus="files"))
    assert not original[:3, 7:16].any() and original[:3, 3:7].any() and original[3:, 7:16].any()
    shutil.rmtree(copy / "can_bus")
    assert notes() == ["CAN bus: derived from ego poses for 2 scenes (scene-s0001, scene-s0002)"]
    with pytest.raises(DataError, match=r"can_bus: no such folder\. Set data.can_bus=auto or =poses"):
        notes(can_bus="files")


def test_messages_of_another_time_are_noted(copy: Path) -> None:
    stamps = times_of(copy)
    write(copy, [message(stamps[0], 1), message(stamps[0] + 100, 2)])
    notes = dataset(copy).notes
    assert "CAN bus: 1 samples have no message within 0.5 s; the nearest one is used" in notes


GOOD = message(1.0, 0.0)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[]", "holds no messages"),
        ('{"a": 1}', "not a JSON array"),
        (json.dumps([GOOD, GOOD])[:-30], "damaged or truncated JSON"),
        ([{**GOOD, "vel": [1.0, 2.0]}], "Expected `array` of length 3"),
        ([{name: value for name, value in GOOD.items() if name != "accel"}], "missing required field `accel`"),
        ('[{"utime": 1, "accel": [NaN, 0, 0], "rotation_rate": [0, 0, 0], "vel": [0, 0, 0]}]', "not finite"),
        ([message(2.0, 0), message(1.0, 0)], "message 1 is earlier than the one before it"),
    ],
)
def test_a_damaged_file_is_told_in_one_line(copy: Path, content: Any, what: str) -> None:
    path = write(copy, content)
    with pytest.raises(DataError, match=what) as caught:
        dataset(copy)
    assert caught.value.where == str(path) and "\n" not in str(caught.value)
    dataset(copy, can_bus="poses")


@given(st.lists(st.floats(0.1, 2), min_size=2, max_size=6), st.tuples(*[number] * 7))
def test_motion_of_a_steady_turn_is_found_exactly(steps: list[float], drawn: tuple[float, ...]) -> None:
    """Constant acceleration and rate about z, unequal steps: second-order differences make no error."""
    times = np.cumsum([0.0, *steps])
    start, acceleration, rate = np.array([*drawn[:2], 0.0]), np.array([*drawn[2:4], drawn[4]]), drawn[5] / 10
    position = start * times[:, None] + acceleration * times[:, None] ** 2 / 2
    turn = yaw_quaternion(drawn[6] + rate * times)
    found = motion_from_poses(times, turn, position)
    to_ego = np.swapaxes(quaternion_matrix(turn), 1, 2)
    tolerance = {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose(found[:, 3:6], np.broadcast_to([0, 0, rate], (len(times), 3)), **tolerance)  # type: ignore[arg-type]
    if len(times) > 2:
        force = acceleration + np.array([0.0, 0.0, GRAVITY])
        np.testing.assert_allclose(found[:, :3], to_ego @ force, **tolerance)  # type: ignore[arg-type]
        velocity = start + acceleration * times[:, None]
        np.testing.assert_allclose(found[:, 6:], (to_ego @ velocity[..., None])[..., 0], **tolerance)  # type: ignore[arg-type]


@given(st.tuples(number, number, number), st.floats(-5, 5))
def test_a_turn_about_any_axis_is_a_rate_in_the_egos_own_axes(axis: tuple[float, ...], yaw: float) -> None:
    rate = np.array(axis) / 10
    angle = np.linalg.norm(rate)
    half = np.array([np.cos(angle / 2), *(rate * (np.sin(angle / 2) / angle if angle > 0 else 0.5))])
    poses = [yaw_quaternion(yaw)]
    for sign in (1, -1, 1):  # a quaternion and its negative are one rotation
        poses.append(sign * quaternion_product(poses[-1], half))
    found = motion_from_poses(np.arange(4.0), np.stack(poses), np.zeros((4, 3)))
    np.testing.assert_allclose(found[:, 3:6], np.broadcast_to(rate, (4, 3)), atol=1e-9)


def test_a_single_pose_stands_still() -> None:
    found = motion_from_poses([5.0], [[1.0, 0, 0, 0]], [[1.0, 2, 3]])
    np.testing.assert_array_equal(found, [[0, 0, GRAVITY, 0, 0, 0, 0, 0, 0]])


def test_poses_at_one_time_cannot_be_derived_from(copy: Path, edit: Edit) -> None:
    def still(rows: list[dict[str, Any]]) -> None:
        lidar = sorted((row for row in rows if "/LIDAR_TOP/" in row["filename"]), key=lambda row: row["timestamp"])
        lidar[2]["timestamp"] = lidar[0]["timestamp"]  # the next key frame of the first scene

    edit(copy, "sample_data", still)
    dataset(copy)
    with pytest.raises(DataError, match=r"lidar frame of sample .* is not later than the one before it"):
        dataset(copy, can_bus="poses")
