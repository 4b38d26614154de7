"""The bird's-eye view. The ego car's forward direction points up in the picture."""

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
"""Distance from the car to the picture's edges in metres."""

RINGS = (10, 20, 30, 40, 50)
"""Radii of the range rings in metres."""

CAR = np.array([[1.4, 0.0, 0.8, 4.6, 1.9, 1.6, 0.0, 0.0, 0.0]])
"""Box of the ego car in its own frame, whose origin is on the ground under the rear axle."""


def to_pixels(points: Array, size: int) -> Array:
    """Ego-frame points (..., 2) [x forward, y left] in metres to pixels (..., 2) of a square picture."""
    scale = size / (2 * RANGE)
    centre = (size - 1) / 2
    return np.stack([centre - points[..., 1] * scale, centre - points[..., 0] * scale], -1)


def draw_bev(view: View, truth: Objects, predictions: Objects, size: int) -> Image:
    """A square picture with range rings, lidar points coloured by height, the ego car, annotations and predictions."""
    canvas = Canvas(palette.PANEL, (size, size))
    scale = size / (2 * RANGE)
    centre = ((size - 1) / 2, (size - 1) / 2)
    for radius in RINGS:
        canvas.circle(centre, radius * scale, palette.RING, 0.8)
    _draw_points(canvas, view.points, size)
    _draw_car(canvas, size)
    for corners, _, _ in _outlines(truth, view, size):
        canvas.lines(dashes(_closed(corners, size), 4, 2.5), palette.TRUTH, 0.9)
    colours = view.classes.colours
    for corners, label, heading in _outlines(predictions, view, size):
        canvas.face(corners, colours[label], 0.35)
        canvas.lines(
            np.concatenate([_closed(corners, size), clip_to_rectangle(heading[None], size, size)]), colours[label], 1.5
        )
    ring_labels = [(centre[0] + 3, centre[1] - r * scale - 1, f"{r} m", palette.SOFT, 11.0, "lb") for r in RINGS[1::2]]
    return write(canvas.finish(), list(ring_labels))


def _draw_points(canvas: Canvas, points: Array, size: int) -> None:
    low, high = -1.0, 3.5
    in_range = (np.abs(points[:, :2]) < RANGE).all(1)
    by_height = points[in_range][np.argsort(points[in_range, 2], kind="stable")]
    relative_height = np.clip((by_height[:, 2] - low) / (high - low), 0, 1)[:, None]
    dark, bright = np.array([62.0, 74.0, 90.0]), np.array([150.0, 178.0, 205.0])
    colours = (dark + relative_height * (bright - dark)).astype(np.uint8)
    canvas.dots(to_pixels(by_height[:, :2], size), colours, 0.75)


def _draw_car(canvas: Canvas, size: int) -> None:
    corners = to_pixels(footprint(CAR)[0], size)
    canvas.face(corners, palette.TEXT, 0.9)
    front = to_pixels(np.array([[2.2, 0.65], [2.2, -0.65], [1.5, -0.75], [1.5, 0.75]]), size)
    canvas.face(front, palette.PANEL, 0.8)


def _outlines(objects: Objects, view: View, size: int) -> list[tuple[Array, int, Array]]:
    """Footprint (4, 2), label and heading line (2, 2) of each box within the picture's range, in pixels."""
    if not len(objects):
        return []
    boxes = transform_boxes(view.global2ego, np.nan_to_num(objects.boxes))
    result = []
    for corners, label in zip(footprint(boxes), objects.labels, strict=True):
        if (np.abs(corners) < RANGE).all(1).any():
            front = corners[:2].mean(0)
            middle = corners.mean(0)
            result.append((to_pixels(corners, size), int(label), to_pixels(np.stack([middle, front]), size)))
    return result


def _closed(corners: Array, size: int) -> Array:
    """The closed outline of a polygon (n, 2) as segments (m, 2, 2), clipped to the picture."""
    return clip_to_rectangle(np.stack([corners, np.roll(corners, -1, 0)], 1), size, size, margin=0.0)
