"""Photometric distortion of training pictures, as BEVFormer does it.

The draws take any object with ``uniform``, ``choice`` and ``permutation``: a keyed generator in training, and in the
reference tests a ``numpy.random.RandomState`` that gives the original's own sequence. Source: mmdetection's
``PhotoMetricDistortion``, after SSD (Liu et al. 2016, arXiv:1512.02325).
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.rng import Draws

BRIGHTNESS = 32.0
CONTRAST = SATURATION = (0.5, 1.5)
HUE = 18.0  # degrees

Pixels = NDArray[np.float32]


class Distortion(NamedTuple):
    """What is done to one picture, in this order; contrast comes last where ``contrast_first`` is False.

    Attributes:
        brightness: added to the pixels. contrast: factor on them. contrast_first: before saturation and hue.
        saturation: factor. hue: degrees added. channels: their new order.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    contrast_first: bool = False
    saturation: float = 1.0
    hue: float = 0.0
    channels: tuple[int, int, int] = (0, 1, 2)


def draw_distortion(rng: Draws) -> Distortion:
    """Each part comes with probability 1/2.

    Order of the draws: brightness, when the contrast comes, contrast if first, saturation, hue, contrast if last,
    channels; of each part first whether it comes.
    """

    def maybe(low: float, high: float, otherwise: float) -> float:
        return float(rng.uniform(low, high)) if rng.choice(2) else otherwise

    brightness = maybe(-BRIGHTNESS, BRIGHTNESS, 0.0)
    first = bool(rng.choice(2) == 1)
    contrast = maybe(*CONTRAST, 1.0) if first else 1.0
    saturation, hue = maybe(*SATURATION, 1.0), maybe(-HUE, HUE, 0.0)
    if not first:
        contrast = maybe(*CONTRAST, 1.0)
    order = rng.permutation(3) if rng.choice(2) else range(3)
    a, b, c = (int(channel) for channel in order)
    return Distortion(brightness, contrast, first, saturation, hue, (a, b, c))


def distort(image: Pixels, how: Distortion) -> Pixels:
    """The picture (H, W, 3) float32 BGR of 0 to 255 with other colours; nothing is cut to that range.

    Saturation and hue are changed in HSV (hue in degrees); the way there and back is taken even if neither changes.
    """
    bgr: Any = image + np.float32(how.brightness) if how.brightness else image
    if how.contrast_first and how.contrast != 1:
        bgr = bgr * np.float32(how.contrast)
    hsv: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV)
    if how.saturation != 1:
        hsv[..., 1] *= np.float32(how.saturation)
    if how.hue:
        hue = hsv[..., 0] + np.float32(how.hue)
        if how.hue > 0:
            hue[hue > 360] -= 360
        else:
            hue[hue < 0] += 360
        hsv[..., 0] = hue
    bgr = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if not how.contrast_first and how.contrast != 1:
        bgr *= np.float32(how.contrast)
    if how.channels == (0, 1, 2):
        return cast(Pixels, bgr)
    return cast(Pixels, cv2.transform(bgr, np.eye(3, dtype=np.float32)[list(how.channels)]))  # faster than an index
