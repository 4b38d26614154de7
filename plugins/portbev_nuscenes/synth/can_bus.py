"""Pose messages of the generated car, in the format of nuScenes' CAN bus expansion."""

from __future__ import annotations

from typing import Any

import numpy as np

from portbev_nuscenes.samples.ego_motion import GRAVITY
from portbev_world.road import Road
from portbev_world.tracks import Track

RATE = 50  # messages per second
_FIRST = -0.093  # seconds, time of the first message; no message coincides with a key frame
_STEP = 0.01  # seconds, of the central differences


def pose_messages(ego: Track, road: Road, start: int, duration: float) -> list[dict[str, Any]]:
    """The messages of ``<scene>_pose.json`` in order of time.

    Args:
        ego, road: the track of the ego and the road that it is on.
        start: timestamp of time 0 in microseconds.
        duration: seconds of the scene; the messages begin before it and end after it.
    """
    stamps = np.array([round((_FIRST + i / RATE) * 1e6) for i in range(int((duration + 0.2) * RATE))], np.int64)
    times = np.asarray(stamps * 1e-6, np.float64)
    before, now, after = (ego.poses(road, times + step) for step in (-_STEP, 0.0, _STEP))
    velocity = _in_ego((after - before)[:, :2] / (2 * _STEP), now[:, 2])
    acceleration = _in_ego((after - 2 * now + before)[:, :2] / _STEP**2, now[:, 2])
    yaw_rate = np.diff(np.unwrap(np.stack([before[:, 2], after[:, 2]]), axis=0), axis=0)[0] / (2 * _STEP)
    return [
        {
            "accel": [*_rounded(acceleration[i]), GRAVITY],
            "orientation": [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))],
            "pos": [float(x), float(y), 0.0],
            "rotation_rate": [0.0, 0.0, *_rounded(yaw_rate[i : i + 1])],
            "utime": start + int(stamps[i]),
            "vel": [*_rounded(velocity[i]), 0.0],
        }
        for i, (x, y, yaw) in enumerate(now.tolist())
    ]


def _in_ego(vectors: Any, yaw: Any) -> Any:
    """(T, 2) forward and left components of global vectors (T, 2)."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([cos * vectors[:, 0] + sin * vectors[:, 1], cos * vectors[:, 1] - sin * vectors[:, 0]], 1)


def _rounded(values: Any) -> list[float]:
    """Values rounded to five decimals; -0 becomes 0."""
    return [round(float(value), 5) + 0.0 for value in values]
