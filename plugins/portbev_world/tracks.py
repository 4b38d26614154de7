"""Motion of objects along a road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portbev_world.road import Road

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Speed:
    """A speed that oscillates around its mean: v(t) = mean (1 + swing sin(rate t + phase)), m/s."""

    mean: float = 0.0
    swing: float = 0.0
    rate: float = 0.5
    phase: float = 0.0

    def distance(self, t: Array) -> Array:
        """Metres travelled from time 0 to t seconds."""
        wave = np.cos(self.phase) - np.cos(self.rate * t + self.phase)
        return np.asarray(self.mean * (t + self.swing / self.rate * wave))


@dataclass(frozen=True)
class Track:
    """A path in road coordinates.

    Attributes:
        s, d: position at time 0, metres.
        along: speed along the road.
        direction: 1 drives towards rising s, -1 towards falling s.
        across: speed to the left, m/s.
        stop: d at which a movement across the road ends.
        turn: yaw relative to the road, radians.
    """

    s: float
    d: float
    along: Speed = Speed()
    direction: int = 1
    across: float = 0.0
    stop: float = 0.0
    turn: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether the object ever moves."""
        return self.along.mean != 0 or self.across != 0

    def poses(self, road: Road, t: Array) -> Array:
        """(T, 3) global x, y and yaw at times t (T,) in seconds."""
        s = self.s + self.direction * self.along.distance(t)
        d = self.d + self.across * t
        if self.across > 0:
            d = np.minimum(d, self.stop)
        elif self.across < 0:
            d = np.maximum(d, self.stop)
        return np.concatenate([road.position(s, d), (road.yaw(s) + self.turn)[:, None]], axis=1)


def footprints_apart(
    first: Array, first_size: Array, second: Array, second_size: Array, margin: float
) -> NDArray[np.bool_]:
    """Whether two oriented rectangles are at least a margin apart, by the separating axis theorem.

    Args:
        first, second: (..., 3) x, y and yaw, of shapes that broadcast.
        first_size, second_size: (..., 2) length and width.
        margin: metres by which each side of ``first`` is grown.

    Returns:
        (...) True where an axis separates them.
    """
    offset = second[..., :2] - first[..., :2]
    half_a, half_b = first_size / 2 + margin, second_size / 2
    apart = np.zeros(np.broadcast_shapes(first.shape, second.shape)[:-1], bool)
    cos, sin = np.abs(np.cos(second[..., 2] - first[..., 2])), np.abs(np.sin(second[..., 2] - first[..., 2]))
    for pose, half, other in ((first, half_a, half_b), (second, half_b, half_a)):
        c, s = np.cos(pose[..., 2]), np.sin(pose[..., 2])
        x = np.abs(c * offset[..., 0] + s * offset[..., 1])
        y = np.abs(-s * offset[..., 0] + c * offset[..., 1])
        apart |= x > half[..., 0] + cos * other[..., 0] + sin * other[..., 1]
        apart |= y > half[..., 1] + sin * other[..., 0] + cos * other[..., 1]
    return apart
