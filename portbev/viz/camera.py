"""Draws boxes in a camera's picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portbev.boxes import EDGES, box_corners
from portbev.geometry import project, transform
from portbev.viz import palette
from portbev.viz.canvas import Canvas, Image
from portbev.viz.clip import clip_polygon, clip_segments, clip_to_rectangle, dashes
from portbev.viz.scene import Camera, Objects

Array = NDArray[np.float64]

FRONT = (0, 1, 5, 4)
"""Corner indices of a box's front face."""

NEAR_TO_FAR: tuple[palette.Colour, ...] = (
    (255, 96, 80),
    (255, 214, 92),
    (120, 226, 140),
    (86, 170, 255),
    (70, 84, 190),
)
"""Colours of points, by their depth."""

FARTHEST = 80.0
"""Boxes farther away than this are not drawn; metres."""


def box_segments(corners: Array, intrinsic: Array, size: tuple[int, int]) -> Array:
    """The visible parts of a box's edges: (m, 2, 2) pixels; m is 0 if the box is not in the picture.

    Args:
        corners: (8, 3) in the camera frame, order of :func:`portbev.boxes.box_corners`.
        size: (width, height) of the picture.
    """
    return _visible(corners[np.array(EDGES)], intrinsic, size)


def heading_segment(corners: Array, intrinsic: Array, size: tuple[int, int]) -> Array:
    """The line from the middle of the bottom face to the middle of its front edge: (0 or 1, 2, 2) pixels."""
    middle, front = corners[:4].mean(0), corners[:2].mean(0)
    return _visible(np.array([[middle, front]]), intrinsic, size)


def front_face(corners: Array, intrinsic: Array) -> Array:
    """The front face, clipped at the near plane: (m, 2) pixels."""
    return project(intrinsic, clip_polygon(corners[list(FRONT)]))[:, :2]


def draw_camera(
    camera: Camera,
    truth: Objects,
    predictions: Objects,
    width: int,
    colours: Sequence[palette.Colour],
    *,
    farthest: float = FARTHEST,
) -> Image:
    """The camera's picture, ``width`` pixels wide, with dashed white annotations and predictions in class colours."""
    high, wide = camera.image.shape[:2]
    scale = width / wide
    size = (width, round(high * scale))
    canvas = Canvas(camera.image, size)
    intrinsic = scaled(camera.intrinsic, scale)
    if camera.depths is not None and len(camera.depths):
        pixels = camera.depths[:, :2] * scale + (scale - 1) / 2
        canvas.dots(pixels, depth_colours(camera.depths[:, 2], farthest), 0.85)
    for corners, _ in _sorted_by_distance(truth, camera, farthest):
        canvas.lines(dashes(box_segments(corners, intrinsic, size), 5, 3), palette.TRUTH, 0.9)
    for corners, label in _sorted_by_distance(predictions, camera, farthest):
        segments = box_segments(corners, intrinsic, size)
        if not len(segments):
            continue
        lines = np.concatenate([segments, heading_segment(corners, intrinsic, size)])
        canvas.face(_bounded(front_face(corners, intrinsic), size), colours[label], 0.22)
        canvas.lines(lines, palette.SHADOW, 2.6)
        canvas.lines(lines, colours[label], 1.5)
    return canvas.finish()


def depth_colours(depth: Array, farthest: float) -> NDArray[np.uint8]:
    """(n, 3) RGB of depths (n,) in metres: from a warm near to a cold far."""
    share = np.sqrt(np.clip(depth / farthest, 0, 1))
    places = np.linspace(0, 1, len(NEAR_TO_FAR))
    stops = np.array(NEAR_TO_FAR, np.float64)
    return np.stack([np.interp(share, places, stops[:, channel]) for channel in range(3)], -1).astype(np.uint8)


def scaled(intrinsic: Array, scale: float) -> Array:
    """Intrinsics of the picture after resizing by ``scale``. Pixel centres are at whole numbers before and after."""
    result = intrinsic.copy()
    result[:2] *= scale
    result[:2, 2] += (scale - 1) / 2
    return result


def _visible(segments: Array, intrinsic: Array, size: tuple[int, int]) -> Array:
    return clip_to_rectangle(project(intrinsic, clip_segments(segments))[..., :2], *size)


def _sorted_by_distance(objects: Objects, camera: Camera, farthest: float) -> list[tuple[Array, int]]:
    """Corners in the camera frame and label of each box nearer than ``farthest``, the farthest box first."""
    if not len(objects):
        return []
    corners = transform(camera.global2camera, box_corners(objects.boxes))
    distance = np.linalg.norm(corners.mean(1), axis=1)
    order = np.argsort(-distance, kind="stable")
    drawn = order[(distance[order] < farthest) & (corners[order, :, 2] > 0).any(1)]
    return [(corners[index], int(objects.labels[index])) for index in drawn]


def _bounded(polygon: Array, size: tuple[int, int]) -> Array:
    """The polygon with its coordinates limited, so that they fit into OpenCV's fixed-point numbers.

    This distorts faces that reach far out of the picture, which is hardly visible because faces are faint.
    """
    return np.clip(polygon, -4.0 * max(size), 5.0 * max(size))
