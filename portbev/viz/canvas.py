"""An image that takes smooth lines, faces and text."""

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
_SHIFT = 5  # fixed-point bits of OpenCV's coordinates


class Canvas:
    """Drawing at twice the size, coordinates in final pixels (whole numbers are pixel centres).

    Args:
        background: (H, W, 3) RGB image, or a colour with ``size`` (width, height).
    """

    def __init__(self, background: Image | Colour, size: tuple[int, int]) -> None:
        self.width, self.height = size
        large = (self.width * SUPERSAMPLE, self.height * SUPERSAMPLE)
        if isinstance(background, tuple):
            self._pixels = np.full((large[1], large[0], 3), background, np.uint8)
        else:
            grows = large[0] > background.shape[1]
            how = cv2.INTER_CUBIC if grows else cv2.INTER_AREA
            self._pixels = np.ascontiguousarray(cv2.resize(background, large, interpolation=how))

    def lines(self, segments: NDArray[np.float64], colour: Colour, width: float) -> None:
        """Draw segments (n, 2, 2) [u v]."""
        thickness = max(1, round(width * SUPERSAMPLE))
        for start, end in self._fixed(segments):
            cv2.line(self._pixels, start.tolist(), end.tolist(), colour, thickness, cv2.LINE_AA, _SHIFT)

    def face(self, polygon: NDArray[np.float64], colour: Colour, alpha: float) -> None:
        """Lay ``colour`` over a convex polygon (n, 2) [u v]."""
        if len(polygon) < 3:
            return
        corners = self._fixed(polygon)
        low = np.clip((corners.min(0) >> _SHIFT) - 1, 0, None)
        high = np.minimum((corners.max(0) >> _SHIFT) + 2, (self._pixels.shape[1], self._pixels.shape[0]))
        if (low >= high).any():
            return
        part = self._pixels[low[1] : high[1], low[0] : high[0]]
        filled = part.copy()
        cv2.fillConvexPoly(filled, corners - (low << _SHIFT), colour, cv2.LINE_AA, _SHIFT)
        cv2.addWeighted(filled, alpha, part, 1 - alpha, 0, part)

    def circle(self, centre: tuple[float, float], radius: float, colour: Colour, width: float) -> None:
        """Draw a circle; a negative ``width`` fills it."""
        at = self._fixed(np.array(centre)).tolist()
        large = round(radius * SUPERSAMPLE * (1 << _SHIFT))
        thickness = -1 if width < 0 else max(1, round(width * SUPERSAMPLE))
        cv2.circle(self._pixels, at, large, colour, thickness, cv2.LINE_AA, _SHIFT)

    def dots(self, points: NDArray[np.float64], colour_of: NDArray[np.uint8], alpha: float) -> None:
        """Lay dots of one pixel of colours (n, 3) at points (n, 2) [u v]."""
        first = np.rint((points + 0.5) * SUPERSAMPLE).astype(np.int64) - SUPERSAMPLE // 2
        height, width = self._pixels.shape[:2]
        for offset in np.ndindex(SUPERSAMPLE, SUPERSAMPLE):
            at = first + offset
            inside = (at >= 0).all(1) & (at[:, 0] < width) & (at[:, 1] < height)
            u, v = at[inside].T
            old = self._pixels[v, u].astype(np.float32)
            self._pixels[v, u] = (old + alpha * (colour_of[inside] - old)).astype(np.uint8)

    def finish(self) -> Image:
        """(height, width, 3) RGB in the final size."""
        return np.asarray(cv2.resize(self._pixels, (self.width, self.height), interpolation=cv2.INTER_AREA), np.uint8)

    def _fixed(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        large = (np.asarray(points) + 0.5) * SUPERSAMPLE - 0.5
        return np.rint(large * (1 << _SHIFT)).astype(np.int32)


def write(image: Image, texts: list[tuple[float, float, str, Colour, float, str]]) -> Image:
    """``image`` with texts (u, v, text, colour, size in pixels, anchor as Pillow names them)."""
    from PIL import Image as Pictures
    from PIL import ImageDraw

    picture = Pictures.fromarray(image)
    pen = ImageDraw.Draw(picture)
    for u, v, text, colour, size, anchor in texts:
        pen.text((u, v), text, fill=colour, font=font(size), anchor=anchor)
    return np.asarray(picture)


@lru_cache(maxsize=16)
def font(size: float) -> Any:
    """DejaVu Sans, which comes with matplotlib: the same letters on every machine."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
