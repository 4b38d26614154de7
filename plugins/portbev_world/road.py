"""The road of a scene: its course, its cross-section and its picture from above."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Road:
    """A road of constant curvature with a symmetric cross-section.

    Road coordinates: s along the middle line, d to the left of it; metres. Traffic drives on the right (d < 0).

    Attributes:
        curvature: 1/m, positive to the left.
        heading: global yaw at s = 0, radians.
        origin: (2,) global position of s = 0.
        lanes: number of lanes per direction.
        lane_width: metres.
        kerb: |d| where the lanes (and the cycle strip) end and the parking strip begins.
        walk: |d| where the sidewalk begins.
        plot: |d| where the sidewalk ends.
        start, end: range of s that the picture covers.
        crossings: s of the zebra crossings.
    """

    curvature: float
    heading: float
    origin: tuple[float, float]
    lanes: int
    lane_width: float
    kerb: float
    walk: float
    plot: float
    start: float
    end: float
    crossings: tuple[float, ...]

    def position(self, s: Array | float, d: Array | float) -> Array:
        """Global (..., 2) position of road coordinates."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        if abs(self.curvature) < 1e-9:
            x, y = s, d
        else:
            radius = 1 / self.curvature
            x = np.sin(self.curvature * s) * (radius - d)
            y = radius - np.cos(self.curvature * s) * (radius - d)
        cos, sin = np.cos(self.heading), np.sin(self.heading)
        return np.stack([cos * x - sin * y + self.origin[0], sin * x + cos * y + self.origin[1]], axis=-1)

    def yaw(self, s: Array | float) -> Array:
        """Global yaw of the road at s."""
        return np.asarray(self.heading + self.curvature * np.asarray(s, dtype=np.float64))

    def lane_centre(self, lane: int) -> float:
        """d of the middle of a lane: 0, 1, ... on the right (driving forward) or -1, -2, ... on the left (oncoming)."""
        return -(lane + 0.5) * self.lane_width if lane >= 0 else (-lane - 0.5) * self.lane_width


@dataclass(frozen=True)
class Ground:
    """The ground from above.

    Attributes:
        levels: pictures, blue green red, each at half the resolution of the previous one; row 0 is at the highest y.
        resolution: metres per pixel of the first level.
        size: (width, height) in metres; the lower left corner is global (0, 0).
        border: colour outside, blue green red.
    """

    levels: list[Image]
    resolution: float
    size: tuple[float, float]
    border: tuple[int, int, int]

    def matrix(self, level: int) -> Array:
        """(3, 3) from global (x, y, 1) to pixel centres of a level."""
        scale = 1 / (self.resolution * 2**level)
        return np.array([[scale, 0, -0.5], [0, -scale, self.size[1] * scale - 0.5], [0, 0, 1.0]])


PALETTES = (
    {"plot": (96, 112, 68), "walk": (164, 160, 152), "road": (84, 84, 88), "strip": (98, 96, 96)},
    {"plot": (138, 126, 100), "walk": (176, 168, 158), "road": (96, 94, 94), "strip": (108, 104, 102)},
    {"plot": (112, 122, 82), "walk": (146, 146, 150), "road": (70, 72, 78), "strip": (80, 80, 84)},
    {"plot": (124, 122, 116), "walk": (182, 176, 170), "road": (104, 104, 108), "strip": (114, 112, 110)},
)


def fit_origin(road: Road, margin: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Origin for which the road and ``margin`` metres beside it have x, y >= 0, and their (width, height)."""
    outline = band(road, -margin, margin)
    low, high = outline.min(axis=0), outline.max(axis=0)
    width, height = np.ceil(high - low + 10)
    return (float(road.origin[0] - low[0] + 5), float(road.origin[1] - low[1] + 5)), (float(width), float(height))


def band(road: Road, low: float, high: float, start: float | None = None, end: float | None = None) -> Array:
    """(N, 2) global outline of the strip with ``low`` <= d <= ``high`` and ``start`` <= s <= ``end`` (default: all)."""
    s = np.linspace(
        road.start if start is None else start, road.end if end is None else end, 2 if start is not None else 64
    )
    return np.concatenate([road.position(s, low), road.position(s[::-1], high)])


def paint_ground(road: Road, size: tuple[float, float], resolution: float, rng: np.random.Generator) -> Ground:
    """Paint asphalt, markings, sidewalks and plots."""
    palette = PALETTES[int(rng.integers(len(PALETTES)))]
    tint = rng.uniform(0.9, 1.1)
    colour = {name: tuple(float(np.clip(tint * c, 0, 255)) for c in rgb[::-1]) for name, rgb in palette.items()}
    shape = round(size[1] / resolution), round(size[0] / resolution), 3
    image = np.empty(shape, np.uint8)
    image[:] = np.array(colour["plot"], np.uint8)
    pen = _Pen(image, size[1], resolution)
    pen.fill(band(road, -road.plot, road.plot), colour["walk"])
    for side in (-1, 1):
        for d in np.arange(road.walk + 1, road.plot, 1.3):
            pen.line(road, side * d, 0.05, tuple(0.9 * c for c in colour["walk"]))
    pen.fill(band(road, -road.walk, road.walk), tuple(1.12 * c for c in colour["walk"]))
    pen.fill(band(road, -road.walk + 0.2, road.walk - 0.2), colour["strip"])
    pen.fill(band(road, -road.kerb, road.kerb), colour["road"])
    _paint_markings(pen, road, rng)
    _add_grain(image, rng)
    levels = [image]
    for _ in range(4):
        smaller = cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(smaller, np.uint8))
    border = tuple(int(c) for c in colour["plot"])
    return Ground(levels, resolution, size, (border[0], border[1], border[2]))


def paint_mask(road: Road, size: tuple[float, float]) -> Image:
    """The semantic prior of the map table: 255 on road and sidewalk, 0 elsewhere, at 0.1 m per pixel."""
    mask = np.zeros((round(size[1] * 10), round(size[0] * 10)), np.uint8)
    _Pen(mask, size[1], 0.1, smooth=False).fill(band(road, -road.plot, road.plot), (255.0,))
    return mask


@dataclass(frozen=True)
class _Pen:
    """Paints road strips on a picture from above."""

    image: Image
    height: float
    resolution: float
    smooth: bool = True

    def fill(self, outline: Array, colour: tuple[float, ...]) -> None:
        pixels = np.stack([outline[:, 0], self.height - outline[:, 1]], axis=1) / self.resolution - 0.5
        fixed = np.round(pixels * 16).astype(np.int32)
        cv2.fillPoly(
            self.image,
            [fixed],
            tuple(min(255.0, c) for c in colour),
            lineType=cv2.LINE_AA if self.smooth else cv2.LINE_8,
            shift=4,
        )

    def line(
        self, road: Road, d: float, width: float, colour: tuple[float, ...], dash: float = 0.0, gap: float = 0.0
    ) -> None:
        if dash == 0:
            self.fill(band(road, d - width / 2, d + width / 2), colour)
            return
        for start in np.arange(road.start, road.end, dash + gap):
            self.fill(band(road, d - width / 2, d + width / 2, start, start + dash), colour)


def _paint_markings(pen: _Pen, road: Road, rng: np.random.Generator) -> None:
    white = (215.0, 218.0, 220.0)
    middle = (60.0, 175.0, 215.0) if rng.random() < 0.6 else white
    for offset in (-0.14, 0.14):
        pen.line(road, offset, 0.12, middle)
    for lane in range(1, road.lanes):
        for side in (-1, 1):
            pen.line(road, side * lane * road.lane_width, 0.14, white, dash=3.0, gap=float(rng.choice([4.5, 6.0])))
    edge = road.lanes * road.lane_width
    for side in (-1, 1):
        pen.line(road, side * edge, 0.14, white)
        for start in np.arange(road.start, road.end, 7.0):
            pen.fill(band(road, side * road.kerb, side * (road.walk - 0.2), start, start + 0.12), white)
    for crossing in road.crossings:
        for d in np.arange(-road.kerb + 0.5, road.kerb - 0.5, 1.1):
            pen.fill(band(road, d, d + 0.55, crossing - 1.5, crossing + 1.5), white)


def _add_grain(image: Image, rng: np.random.Generator) -> None:
    fine = rng.normal(0, 4.0, (512, 512))
    coarse = cv2.resize(rng.normal(0, 4.0, (16, 16)), (512, 512), interpolation=cv2.INTER_CUBIC)
    tile = np.round(fine + coarse).astype(np.int16)
    for row in range(0, image.shape[0], 512):
        for column in range(0, image.shape[1], 512):
            patch = image[row : row + 512, column : column + 512]
            grain = tile[: patch.shape[0], : patch.shape[1], None]
            patch[:] = np.clip(patch.astype(np.int16) + grain, 0, 255).astype(np.uint8)
