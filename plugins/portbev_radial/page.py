"""Page of a sample: the camera's picture with boxes, and the radar's map from above."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.boxes import footprint
from portbev.viz import palette
from portbev.viz.camera import draw_camera
from portbev.viz.canvas import Canvas, Image, write
from portbev.viz.clip import clip_to_rectangle, dashes
from portbev.viz.page import GAP, Text, framed, heading, legend
from portbev.viz.scene import Array, Camera, Objects
from portbev_radial.classes import DETECTION_CLASSES

CAMERA_WIDTH, RADAR_HEIGHT = 960, 720
_WIDE = 1.2
"""Width of the radar's panel over its height; the radar is in the middle of its lower edge."""

CLASSES = palette.Classes.of(DETECTION_CLASSES)


@dataclass(frozen=True)
class AzimuthMap:
    """The radar's range-azimuth map.

    ``amplitude`` (ranges, azimuths); ``azimuth`` (azimuths,) degrees to the left, ascending; the ranges are evenly
    spaced up to ``reach`` metres.
    """

    amplitude: Array
    azimuth: Array
    reach: float


@dataclass(frozen=True)
class RadialView:
    """One sample of a camera and a radar; boxes are in the radar's frame, the picture is undistorted.

    ``camera`` and ``radar`` are None where the data have no picture or no map; ``reach`` is the radar's range [m].
    ``points`` (n, 2) are what a point cloud of the radar has found, x and y.
    """

    token: str
    camera: Camera | None
    radar: AzimuthMap | None
    reach: float
    truth: Objects
    found: Objects
    points: Array | None = None


def draw_radial(view: RadialView, *, title: str = "", score: float = 0.3) -> Image:
    """The sample as one picture (H, W, 3) RGB; arguments as in :func:`portbev.viz.draw_view`."""
    detections = view.found.above(score)
    page = framed(panels(view, detections))
    texts: list[Text] = heading(title, f"frame {view.token}", page.shape[1])
    page, below = legend(page, view.truth, detections.labels, score, CLASSES)
    return write(page, texts + below)


def panels(view: RadialView, detections: Objects, below: Image | None = None) -> Image:
    """The camera's picture, the radar's map beside it, and another picture where the camera's leaves room."""
    radar_width = round(RADAR_HEIGHT * _WIDE)
    body = np.full((RADAR_HEIGHT, CAMERA_WIDTH + GAP + radar_width, 3), palette.PAGE, np.uint8)
    top = 0
    if view.camera is not None:
        picture = draw_camera(view.camera, view.truth, detections, CAMERA_WIDTH, CLASSES.colours, farthest=view.reach)
        picture = picture[:RADAR_HEIGHT]
        body[: len(picture), :CAMERA_WIDTH] = picture
        top = len(picture) + GAP
    if below is not None and RADAR_HEIGHT - top > GAP:
        size = (CAMERA_WIDTH, RADAR_HEIGHT - top)
        body[top:, :CAMERA_WIDTH] = cv2.resize(below, size, interpolation=cv2.INTER_NEAREST)
    body[:, CAMERA_WIDTH + GAP :] = draw_radar(view, detections, (radar_width, RADAR_HEIGHT))
    return body


def to_pixels(points: Array, size: tuple[int, int], reach: float) -> Array:
    """Points (..., 2) [x forward, y left] in metres to pixels (..., 2) of a picture (width, height)."""
    scale = size[1] / reach
    return np.stack([(size[0] - 1) / 2 - points[..., 1] * scale, size[1] - 0.5 - points[..., 0] * scale], -1)


def draw_radar(view: RadialView, detections: Objects, size: tuple[int, int]) -> Image:
    """The radar's map of ``size`` (width, height) with range rings, annotations and predictions."""
    background = palette.PANEL if view.radar is None else _heat(view.radar, size)
    canvas = Canvas(background, size)
    scale, origin = size[1] / view.reach, to_pixels(np.zeros(2), size, view.reach)
    rings = range(20, int(view.reach) + 1, 20)
    for radius in rings:
        canvas.circle((float(origin[0]), float(origin[1])), radius * scale, palette.RING, 0.8)
    if view.points is not None and len(view.points):
        colours = np.tile(np.array(palette.SERIES[5], np.uint8), (len(view.points), 1))
        canvas.dots(to_pixels(view.points, size, view.reach), colours, 0.9)
    for corners, _ in _outlines(view.truth, view.reach, size):
        canvas.lines(dashes(corners, 4, 2.5), palette.TRUTH, 0.9)
    for corners, label in _outlines(detections, view.reach, size):
        canvas.lines(corners, palette.SHADOW, 2.6)
        canvas.lines(corners, CLASSES.colours[label], 1.5)
    marks = [(origin[0] + 3, origin[1] - r * scale - 1, f"{r} m", palette.SOFT, 11.0, "lb") for r in rings]
    if view.radar is None:
        marks.append((10.0, 8.0, "the data have no range-azimuth map", palette.SOFT, 13.0, "la"))
    return write(canvas.finish(), list(marks))


def _heat(radar: AzimuthMap, size: tuple[int, int]) -> Image:
    """The map seen from above; brightness is the level in dB above the median of all azimuths at that range.

    Each echo also appears at all azimuths, through the Doppler slots of the other transmitters. Subtracting the median
    removes that.
    """
    across, up = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    scale = size[1] / radar.reach
    x, y = (size[1] - 0.5 - up) / scale, ((size[0] - 1) / 2 - across) / scale
    bins, columns = radar.amplitude.shape
    row = np.hypot(x, y) / radar.reach * bins
    column = np.interp(np.degrees(np.arctan2(y, x)), radar.azimuth, np.arange(columns), left=-2, right=columns + 1)
    level = 20 * np.log10(np.maximum(radar.amplitude, np.finfo(np.float64).tiny))
    above = (level - np.median(level, axis=1, keepdims=True)).clip(min=0)
    share = (above / max(above.max(), 1.0)).astype(np.float32)
    shares = cv2.remap(share, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderValue=0)
    return heat(np.asarray(shares, np.float64))


def heat(share: Array) -> NDArray[np.uint8]:
    """Colours of values from 0 to 1: from the dark of the panel over blue to a warm white."""
    stops = np.array([palette.PANEL, (30, 62, 98), (48, 128, 160), (222, 226, 205)], np.float64)
    positions = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(share, positions, stops[:, channel]) for channel in range(3)], -1).astype(np.uint8)


def _outlines(objects: Objects, reach: float, size: tuple[int, int]) -> list[tuple[Array, int]]:
    """For each object the line segments (m, 2, 2) [pixels] of its footprint and heading, and its label."""
    if not len(objects):
        return []
    result = []
    for corners, label in zip(footprint(objects.boxes), objects.labels, strict=True):
        ring = np.stack([corners, np.roll(corners, -1, 0)], 1)
        heading = np.stack([corners.mean(0), corners[:2].mean(0)])
        edges = to_pixels(np.concatenate([ring, heading[None]]), size, reach)
        result.append((clip_to_rectangle(edges, *size), int(label)))
    return result
