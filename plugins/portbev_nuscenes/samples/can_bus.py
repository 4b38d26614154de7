"""The 18 numbers of ego motion that BEVFormer takes from the CAN bus expansion.

Of ``can_bus/<scene>_pose.json`` only acceleration, rotation rate and velocity are used; position and orientation come
from the ego poses of the tables. Format of the files: https://github.com/nutonomy/nuscenes-devkit, folder
``python-sdk/nuscenes/can_bus``. Source of the vector: fundamentalvision/BEVFormer,
``tools/data_converter/nuscenes_converter.py``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.errors import DataError
from portbev.geometry import quaternion_yaw
from portbev.paths import DataPath
from portbev_nuscenes.tables.jsonrows import read_rows
from portbev_nuscenes.tables.rows import Vector

Array = NDArray[np.float64]
Quirks = Literal["official", "fixed"]

FOLDER = "can_bus"
FAR = 0.5
"""A sample farther than this many seconds from the nearest message counts as not covered by the file."""


class PoseMessage(msgspec.Struct, gc=False):
    """A pose message: time [us], acceleration [m/s^2], rotation rate [rad/s] and velocity [m/s] in the ego frame."""

    utime: float
    accel: Vector
    rotation_rate: Vector
    vel: Vector


def pose_file(root: DataPath, scene: str) -> DataPath:
    """File of a scene's pose messages in the CAN bus expansion."""
    return root / FOLDER / f"{scene}_pose.json"


def read_messages(path: DataPath) -> tuple[Array, Array]:
    """Read a scene's file: times (n,) [us] and motions (n, 9), which are acceleration, rotation rate and velocity.

    Raises:
        DataError: no messages, damaged JSON, a missing field, numbers that are not finite, times out of order.
    """
    messages = [row for block in read_rows(path, PoseMessage) for row in block]
    times = np.array([row.utime for row in messages], np.float64)
    motion = np.array([(*row.accel, *row.rotation_rate, *row.vel) for row in messages], np.float64).reshape(-1, 9)
    if not messages:
        raise _damaged(path, "holds no messages")
    if not (np.isfinite(times).all() and np.isfinite(motion).all()):
        raise _damaged(path, "has a number that is not finite")
    if (np.diff(times) < 0).any():
        first = int(np.flatnonzero(np.diff(times) < 0)[0]) + 1
        raise _damaged(path, f"message {first} is earlier than the one before it")
    return times, motion


def motion_at(times: ArrayLike, message_times: Array, motion: Array, quirks: Quirks = "official") -> Array:
    """(m, 9) motion of samples at ``times`` (m,) in microseconds from the messages of their scene.

    ``official`` takes the first message later than the sample: the original searches for the last message that is not
    later, but then uses the message that ended the search. ``fixed`` takes the last message that is not later. Samples
    before the first message or after the last one get the motion of that message.
    """
    later = np.searchsorted(message_times, np.asarray(times, np.float64), side="right")
    row = later if quirks == "official" else later - 1
    # for samples before the first message the original's search ends at once and uses the first message
    return motion[np.clip(np.where(later == 0, 0, row), 0, len(motion) - 1)]


def uncovered(times: ArrayLike, message_times: Array) -> int:
    """Number of samples more than :data:`FAR` seconds before the first message or after the last one."""
    sample_times = np.asarray(times, np.float64)
    outside = np.maximum(message_times[0] - sample_times, sample_times - message_times[-1])
    return int((outside > FAR * 1e6).sum())


def absolute(translation: ArrayLike, rotation: ArrayLike, motion: ArrayLike) -> Array:
    """CAN bus vectors (n, 18) from ego poses, translation (n, 3) and rotation (n, 4), and motions (n, 9).

    [:3] position [m, global], [3:7] orientation w, x, y, z, [7:10] acceleration, [10:13] rotation rate,
    [13:16] velocity, [16] and [17] yaw in radians and in degrees, from 0 to a full turn.
    """
    quaternion = np.asarray(rotation, np.float64)
    degrees = quaternion_yaw(quaternion) / np.pi * 180
    degrees = np.where(degrees < 0, degrees + 360, degrees)[:, None]
    parts: list[Any] = [translation, quaternion, motion, degrees / 180 * np.pi, degrees]
    return np.concatenate([np.asarray(part, np.float64) for part in parts], 1)


def relative(vectors: Array, continues: NDArray[np.bool_]) -> Array:
    """CAN bus vectors (n, 18) whose [:3] and [17] are differences to the previous row, or 0 without a previous row.

    As in the original, the difference of the yaw in degrees is not wrapped to half a turn: it may be -356.

    Args:
        vectors: (n, 18) as :func:`absolute` gives them.
        continues: (n,) whether a row continues the previous one; false for the first.
    """
    result = np.array(vectors, np.float64)
    for columns in (slice(0, 3), slice(17, 18)):
        change = np.diff(vectors[:, columns], axis=0, prepend=vectors[:1, columns])
        result[:, columns] = np.where(continues[:, None], change, 0.0)
    return result


def _damaged(path: DataPath, message: str) -> DataError:
    return DataError(message, where=str(path), cure="Fetch it again, or set data.can_bus=poses")
