"""Lidar sweeps by ray casting.

Rays are intersected with the flat ground and with the boxes around the parts of each body.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev_world.picture import Body
from portbev_world.rig import Lidar
from portbev_world.road import Ground

Array = NDArray[np.float64]
_NEAREST, _FARTHEST = 1.0, 75.0


def scan(
    lidar: Lidar, ego: Array, bodies: list[Body], poses: Array, ground: Ground, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Simulate one turn of the lidar.

    Args:
        lidar: the sensor.
        ego: (3,) global x, y, yaw.
        bodies: N objects.
        poses: (N, 3) global x, y, yaw of each.
        ground: the road from above, for the intensity of returns from the ground.
        rng: draws range noise (2 cm) and lost returns (2 %).

    Returns:
        (M, 5) x, y, z in the lidar's frame (m), intensity 0 to 255, ring; in the order of firing.
    """
    turn = ego[2] + lidar.yaw
    cos, sin = np.cos(ego[2]), np.sin(ego[2])
    x, y, height = lidar.position
    origin = np.array([ego[0] + cos * x - sin * y, ego[1] + sin * x + cos * y, height])
    azimuths = -2 * np.pi * np.arange(lidar.steps) / lidar.steps  # clockwise from the sensor's x axis
    beams, steps = len(lidar.elevations), lidar.steps
    rise, flat = np.sin(lidar.elevations), np.cos(lidar.elevations)
    with np.errstate(divide="ignore"):
        to_ground = np.where(rise < -1e-6, -height / rise, np.inf)
    distance = np.repeat(to_ground[:, None], steps, axis=1)
    reflectance = np.full((beams, steps), -1.0)
    heading = azimuths + turn
    for body, pose in zip(bodies, poses, strict=True):
        _cast(body, pose, origin, heading, lidar, rise, flat, distance, reflectance)
    noise = rng.normal(0, 0.02, (beams, steps))
    kept = (distance > _NEAREST) & (distance < _FARTHEST) & (rng.random((beams, steps)) > 0.02)
    length = distance + noise
    ring, step = np.nonzero(kept)
    firing = np.argsort(step * beams + ring, kind="stable")
    ring, step = ring[firing], step[firing]
    length, reflectance = length[ring, step], reflectance[ring, step]
    points = np.empty((len(ring), 5), np.float32)
    points[:, 0] = length * flat[ring] * np.cos(azimuths[step])
    points[:, 1] = length * flat[ring] * np.sin(azimuths[step])
    points[:, 2] = length * rise[ring]
    road = reflectance < 0
    if road.any():
        reach = (length * flat[ring])[road]
        hits = origin[:2] + reach[:, None] * np.stack(
            [np.cos(heading[step[road]]), np.sin(heading[step[road]])], axis=1
        )
        reflectance[road] = _ground_reflectance(ground, hits)
    points[:, 3] = np.floor(np.clip(reflectance * np.exp(-length / 60), 0, 255))
    points[:, 4] = ring
    return points


def _cast(
    body: Body,
    pose: Array,
    origin: Array,
    heading: Array,
    lidar: Lidar,
    rise: Array,
    flat: Array,
    distance: Array,
    reflectance: Array,
) -> None:
    """Update ``distance`` and ``reflectance`` (beams, steps), in place, for the rays that hit a body."""
    offset = pose[:2] - origin[:2]
    away = float(np.hypot(*offset))
    radius = float(np.hypot(body.size[0], body.size[1])) / 2
    if away > _FARTHEST + radius:
        return
    nearest = max(away - radius, 0.05)
    if away > radius + 0.05:
        gap = np.abs((heading - np.arctan2(offset[1], offset[0]) + np.pi) % (2 * np.pi) - np.pi)
        columns = np.nonzero(gap <= np.arcsin(radius / away) + 1e-6)[0]
    else:
        columns = np.arange(len(heading))
    above = body.size[2] - origin[2]
    lowest = np.arctan2(-origin[2], nearest)
    highest = np.arctan2(above, nearest if above > 0 else away + radius)
    rows = np.nonzero((lidar.elevations >= lowest - 1e-6) & (lidar.elevations <= highest + 1e-6))[0]
    if not (len(columns) and len(rows)):
        return
    bearing = heading[columns] - pose[2]
    along = flat[rows, None, None] * np.stack([np.cos(bearing), np.sin(bearing)], axis=-1)
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    start = np.array([-cos * offset[0] - sin * offset[1], sin * offset[0] - cos * offset[1], origin[2]])
    near = np.full((len(rows), len(columns), len(body.mesh.boxes)), -np.inf)
    far = np.full_like(near, np.inf)
    for axis in range(3):
        direction = along[:, :, axis] if axis < 2 else np.broadcast_to(rise[rows, None], along.shape[:2])
        safe = np.where(np.abs(direction) < 1e-12, 1e-12, direction)
        low = (body.mesh.boxes[:, 0, axis] - start[axis]) / safe[:, :, None]
        high = (body.mesh.boxes[:, 1, axis] - start[axis]) / safe[:, :, None]
        np.maximum(near, np.minimum(low, high), out=near)
        np.minimum(far, np.maximum(low, high), out=far)
    near[(near > far) | (near <= 0)] = np.inf
    part = near.argmin(axis=2)
    hit = np.take_along_axis(near, part[:, :, None], axis=2)[:, :, 0]
    block = np.ix_(rows, columns)
    closer = hit < distance[block]
    albedo = body.mesh.colours[body.mesh.part_faces[:, 0]].mean(axis=1)
    distance[block] = np.where(closer, hit, distance[block])
    reflectance[block] = np.where(closer, 8 + 0.5 * albedo[part], reflectance[block])


def _ground_reflectance(ground: Ground, points: Array) -> Array:
    """(n,) reflectance of the ground at global points (n, 2)."""
    matrix = ground.matrix(1)
    pixels = np.round(points @ matrix[:2, :2].T + matrix[:2, 2]).astype(np.int64)
    picture = ground.levels[1]
    height, width = picture.shape[:2]
    inside = (pixels[:, 0] >= 0) & (pixels[:, 0] < width) & (pixels[:, 1] >= 0) & (pixels[:, 1] < height)
    column, row = np.clip(pixels[:, 0], 0, width - 1), np.clip(pixels[:, 1], 0, height - 1)
    return np.where(inside, 0.25 * picture[row, column].mean(axis=1), 15.0)
