"""Draws antialiased lines, faces, circles, dots and texts on an image."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.viz.palette import Colour

Image = NDArray[np.uint8]

SUPERSAMPLE = 2
"""The canvas is this many times as large as the finished image."""

_SHIFT = 5  # number of fractional bits of OpenCV's fixed-point coordinates


class Canvas:
    """An image that is drawn on at twice its size.

    Coordinates are in pixels of the finished image; whole numbers are pixel centres.

    Args:
        background: (H, W, 3) RGB image, which is resized, or a colour.
        size: (width, height) of the finished image.
    """

    def __init__(self, background: Image | Colour, size: tuple[int, int]) -> None:
        self.width, self.height = size
        large = (self.width * SUPERSAMPLE, self.height * SUPERSAMPLE)
        if isinstance(background, tuple):
            self._pixels = np.full((large[1], large[0], 3), background, np.uint8)
        else:
            enlarge = large[0] > background.shape[1]
            interpolation = cv2.INTER_CUBIC if enlarge else cv2.INTER_AREA
            self._pixels = np.ascontiguousarray(cv2.resize(background, large, interpolation=interpolation))

    def lines(self, segments: NDArray[np.float64], colour: Colour, width: float) -> None:
        """Draw segments (n, 2, 2) [u v]; ``width`` is in pixels."""
        thickness = max(1, round(width * SUPERSAMPLE))
        for start, end in self._fixed(segments):
            cv2.line(self._pixels, start.tolist(), end.tolist(), colour, thickness, cv2.LINE_AA, _SHIFT)

    def face(self, polygon: NDArray[np.float64], colour: Colour, alpha: float) -> None:
        """Blend ``colour`` with opacity ``alpha`` over a convex polygon (n, 2) [u v]."""
        if len(polygon) < 3:
            return
        corners = self._fixed(polygon)
        low = np.clip((corners.min(0) >> _SHIFT) - 1, 0, None)
        high = np.minimum((corners.max(0) >> _SHIFT) + 2, (self._pixels.shape[1], self._pixels.shape[0]))
        if (low >= high).any():
            return
        window = self._pixels[low[1] : high[1], low[0] : high[0]]
        filled = window.copy()
        cv2.fillConvexPoly(filled, corners - (low << _SHIFT), colour, cv2.LINE_AA, _SHIFT)
        cv2.addWeighted(filled, alpha, window, 1 - alpha, 0, window)

    def circle(self, centre: tuple[float, float], radius: float, colour: Colour, width: float) -> None:
        """Draw a circle; a negative ``width`` fills it."""
        fixed_centre = self._fixed(np.array(centre)).tolist()
        fixed_radius = round(radius * SUPERSAMPLE * (1 << _SHIFT))
        thickness = -1 if width < 0 else max(1, round(width * SUPERSAMPLE))
        cv2.circle(self._pixels, fixed_centre, fixed_radius, colour, thickness, cv2.LINE_AA, _SHIFT)

    def dots(self, points: NDArray[np.float64], colours: NDArray[np.uint8], alpha: float) -> None:
        """Blend dots of one pixel with opacity ``alpha`` at points (n, 2) [u v], with colours (n, 3)."""
        first = np.rint((points + 0.5) * SUPERSAMPLE).astype(np.int64) - SUPERSAMPLE // 2
        height, width = self._pixels.shape[:2]
        for offset in np.ndindex(SUPERSAMPLE, SUPERSAMPLE):
            pixels = first + offset
            inside = (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
            u, v = pixels[inside].T
            old = self._pixels[v, u].astype(np.float32)
            self._pixels[v, u] = (old + alpha * (colours[inside] - old)).astype(np.uint8)

    def finish(self) -> Image:
        """The finished image (height, width, 3) RGB."""
        return np.asarray(cv2.resize(self._pixels, (self.width, self.height), interpolation=cv2.INTER_AREA), np.uint8)

    def _fixed(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Coordinates as fixed-point numbers in pixels of the large canvas."""
        large = (np.asarray(points) + 0.5) * SUPERSAMPLE - 0.5
        return np.rint(large * (1 << _SHIFT)).astype(np.int32)


def write(image: Image, texts: list[tuple[float, float, str, Colour, float, str]]) -> Image:
    """A copy of ``image`` with texts: u, v, text, colour, size in pixels, and the anchor in Pillow's notation."""
    from PIL import Image as Pictures
    from PIL import ImageDraw

    picture = Pictures.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for u, v, text, colour, size, anchor in texts:
        pen.text((u, v), text, fill=colour, font=font(size), anchor=anchor)
    return np.asarray(picture)


@lru_cache(maxsize=16)
def font(size: float) -> Any:
    """DejaVu Sans, which comes with matplotlib, so that the letters are the same on every machine."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
