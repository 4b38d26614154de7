"""The bird's-eye view: the car looks up the page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.boxes import footprint, transform_boxes
from portbev.viz import palette
from portbev.viz.canvas import Canvas, Image, write
from portbev.viz.clip import clip_to_rectangle, dashes
from portbev.viz.scene import Objects, View

Array = NDArray[np.float64]

RANGE = 52.0
"""Metres from the car to the picture's edge."""

RINGS = (10, 20, 30, 40, 50)
CAR = np.array([[1.4, 0.0, 0.8, 4.6, 1.9, 1.6, 0.0, 0.0, 0.0]])
"""The ego car: its frame's origin is under the rear axle."""


def to_pixels(points: Array, size: int) -> Array:
    """Ego-frame points (..., 2) [x forward, y left] in metres to pixels (..., 2) of a square picture."""
    scale = size / (2 * RANGE)
    centre = (size - 1) / 2
    return np.stack([centre - points[..., 1] * scale, centre - points[..., 0] * scale], -1)


def draw_bev(view: View, truth: Objects, found: Objects, size: int) -> Image:
    """Square picture with range rings, lidar points by height, the car, annotations and predictions."""
    canvas = Canvas(palette.PANEL, (size, size))
    scale = size / (2 * RANGE)
    centre = ((size - 1) / 2, (size - 1) / 2)
    for radius in RINGS:
        canvas.circle(centre, radius * scale, palette.RING, 0.8)
    _draw_points(canvas, view.points, size)
    _draw_car(canvas, size)
    for corners, _, _ in _outlines(truth, view, size):
        canvas.lines(dashes(_ring(corners, size), 4, 2.5), palette.TRUTH, 0.9)
    colours = view.classes.colours
    for corners, label, heading in _outlines(found, view, size):
        canvas.face(corners, colours[label], 0.35)
        canvas.lines(
            np.concatenate([_ring(corners, size), clip_to_rectangle(heading[None], size, size)]), colours[label], 1.5
        )
    marks = [(centre[0] + 3, centre[1] - r * scale - 1, f"{r} m", palette.SOFT, 11.0, "lb") for r in RINGS[1::2]]
    return write(canvas.finish(), list(marks))


def _draw_points(canvas: Canvas, points: Array, size: int) -> None:
    low, high = -1.0, 3.5
    near = (np.abs(points[:, :2]) < RANGE).all(1)
    kept = points[near][np.argsort(points[near, 2], kind="stable")]
    share = np.clip((kept[:, 2] - low) / (high - low), 0, 1)[:, None]
    ground, top = np.array([62.0, 74.0, 90.0]), np.array([150.0, 178.0, 205.0])
    canvas.dots(to_pixels(kept[:, :2], size), (ground + share * (top - ground)).astype(np.uint8), 0.75)


def _draw_car(canvas: Canvas, size: int) -> None:
    corners = to_pixels(footprint(CAR)[0], size)
    canvas.face(corners, palette.TEXT, 0.9)
    front = to_pixels(np.array([[2.2, 0.65], [2.2, -0.65], [1.5, -0.75], [1.5, 0.75]]), size)
    canvas.face(front, palette.PANEL, 0.8)


def _outlines(objects: Objects, view: View, size: int) -> list[tuple[Array, int, Array]]:
    """Footprint (4, 2), label and heading line (2, 2) in pixels of each box near enough."""
    if not len(objects):
        return []
    boxes = transform_boxes(view.global2ego, np.nan_to_num(objects.boxes))
    feet = footprint(boxes)
    result = []
    for corners, label in zip(feet, objects.labels, strict=True):
        if (np.abs(corners) < RANGE).all(1).any():
            front = corners[:2].mean(0)
            middle = corners.mean(0)
            result.append((to_pixels(corners, size), int(label), to_pixels(np.stack([middle, front]), size)))
    return result


def _ring(corners: Array, size: int) -> Array:
    """A closed outline (n, 2) as segments inside the picture."""
    return clip_to_rectangle(np.stack([corners, np.roll(corners, -1, 0)], 1), size, size, margin=0.0)
