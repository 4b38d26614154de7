"""Velocity, rotation rate and acceleration of the ego, derived from its poses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.geometry import quaternion_inverse, quaternion_matrix, quaternion_product

Array = NDArray[np.float64]

GRAVITY = 9.81
"""Upward acceleration [m/s^2] that an accelerometer at rest measures."""


def motion_from_poses(seconds: ArrayLike, rotation: ArrayLike, translation: ArrayLike) -> Array:
    """(n, 9) acceleration, rotation rate and velocity, each in the ego frame, of n poses of one drive.

    Finite differences of second order between neighbouring poses, one-sided at both ends. The acceleration includes
    gravity, as an accelerometer measures it. For a single pose the motion is zero apart from gravity; for two poses the
    acceleration is gravity alone, because it cannot be derived.

    Args:
        seconds: (n,) increasing times.
        rotation, translation: (n, 4) and (n, 3), ego to global.
    """
    times, position = np.asarray(seconds, np.float64), np.asarray(translation, np.float64)
    quaternion = np.asarray(rotation, np.float64)
    quaternion = quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)
    velocity = _derivative(position, times)
    acceleration = _derivative(velocity, times) if len(times) > 2 else np.zeros_like(velocity)
    acceleration = acceleration + np.array([0.0, 0.0, GRAVITY])
    to_ego = np.swapaxes(quaternion_matrix(quaternion), 1, 2)
    in_ego = [(to_ego @ column[..., None])[..., 0] for column in (acceleration, velocity)]
    return np.concatenate([in_ego[0], _rotation_rate(quaternion, times), in_ego[1]], 1)


def _derivative(values: Array, times: Array) -> Array:
    if len(times) < 2:
        return np.zeros_like(values)
    return np.asarray(np.gradient(values, times, axis=0, edge_order=2 if len(times) > 2 else 1))


def _rotation_rate(quaternion: Array, times: Array) -> Array:
    """(n, 3) rad/s: mean of the rates towards both neighbours, weighted so that the nearer one in time counts more."""
    if len(times) < 2:
        return np.zeros((len(times), 3))
    step = np.diff(times)[:, None]
    rate = _rotation_vector(quaternion_product(quaternion_inverse(quaternion[:-1]), quaternion[1:])) / step
    inner = (rate[:-1] * step[1:] + rate[1:] * step[:-1]) / (step[:-1] + step[1:])
    return np.concatenate([rate[:1], inner, rate[-1:]])


def _rotation_vector(rotation: Array) -> Array:
    """(n, 3) axis times angle [rad] of unit quaternions (n, 4); the angle is at most pi."""
    q = np.where(rotation[:, :1] < 0, -rotation, rotation)
    sine = np.linalg.norm(q[:, 1:], axis=1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[:, :1])
    return q[:, 1:] * np.divide(angle, sine, out=np.full_like(sine, 2.0), where=sine > 0)
