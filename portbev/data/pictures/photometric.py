"""Photometric distortion of training pictures, as in BEVFormer.

Random numbers come from any object with ``uniform``, ``choice`` and ``permutation``: a keyed generator in training, and
in the reference tests a ``numpy.random.RandomState``, which gives the original's own sequence. Source: mmdetection's
``PhotoMetricDistortion``, after SSD (Liu et al., 2016, arXiv:1512.02325).
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
    """The parameters of a distortion, in the order in which they are applied.

    Attributes:
        brightness: added to the pixels.
        contrast: factor on the pixels.
        contrast_first: whether the contrast is applied before saturation and hue, or after them.
        saturation: factor on the saturation.
        hue: added to the hue, degrees.
        channels: new order of the channels.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    contrast_first: bool = False
    saturation: float = 1.0
    hue: float = 0.0
    channels: tuple[int, int, int] = (0, 1, 2)


def draw_distortion(rng: Draws) -> Distortion:
    """Draw the parameters. Each differs from its neutral value with a probability of 1/2.

    Order of the draws: brightness, contrast_first, contrast if it is first, saturation, hue, contrast if it is last,
    channels. For each of them except contrast_first a draw of whether it is applied precedes its value.
    """

    def uniform_or(neutral: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.choice(2) else neutral

    brightness = uniform_or(0.0, -BRIGHTNESS, BRIGHTNESS)
    contrast_first = bool(rng.choice(2) == 1)
    contrast = uniform_or(1.0, *CONTRAST) if contrast_first else 1.0
    saturation, hue = uniform_or(1.0, *SATURATION), uniform_or(0.0, -HUE, HUE)
    if not contrast_first:
        contrast = uniform_or(1.0, *CONTRAST)
    order = rng.permutation(3) if rng.choice(2) else range(3)
    a, b, c = (int(channel) for channel in order)
    return Distortion(brightness, contrast, contrast_first, saturation, hue, (a, b, c))


def distort(image: Pixels, distortion: Distortion) -> Pixels:
    """The distorted picture (H, W, 3) float32 BGR. Values of 0 to 255 can leave that range; they are not clipped.

    Saturation and hue are changed in HSV (hue in degrees). The picture is converted to HSV and back even if neither
    changes.
    """
    bgr: Any = image + np.float32(distortion.brightness) if distortion.brightness else image
    if distortion.contrast_first and distortion.contrast != 1:
        bgr = bgr * np.float32(distortion.contrast)
    hsv: Any = cv2.cvtColor(bgr, cv2.COLOR_BGR2HSV)
    if distortion.saturation != 1:
        hsv[..., 1] *= np.float32(distortion.saturation)
    if distortion.hue:
        hue = hsv[..., 0] + np.float32(distortion.hue)
        if distortion.hue > 0:
            hue[hue > 360] -= 360
        else:
            hue[hue < 0] += 360
        hsv[..., 0] = hue
    bgr = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    if not distortion.contrast_first and distortion.contrast != 1:
        bgr *= np.float32(distortion.contrast)
    if distortion.channels == (0, 1, 2):
        return cast(Pixels, bgr)
    permutation = np.eye(3, dtype=np.float32)[list(distortion.channels)]
    return cast(Pixels, cv2.transform(bgr, permutation))  # faster than indexing


def words(distortion: Distortion) -> str:
    """A distortion in words: what differs from the picture as it is."""
    said = []
    if distortion.brightness:
        said.append(f"brightness {distortion.brightness:+.0f}")
    if distortion.contrast != 1:
        said.append(f"contrast x{distortion.contrast:.2f}{' first' if distortion.contrast_first else ''}")
    if distortion.saturation != 1:
        said.append(f"saturation x{distortion.saturation:.2f}")
    if distortion.hue:
        said.append(f"hue {distortion.hue:+.0f}")
    if distortion.channels != (0, 1, 2):
        said.append(f"channels {''.join('BGR'[channel] for channel in distortion.channels)}")
    return ", ".join(said) or "as it is"
