"""Camera pictures as the input of BEVFormer's network: scaled, normalised and padded.

Padding comes last, so that it is 0 in normalised units. Source: fundamentalvision/BEVFormer,
``datasets/pipelines/transform_3d.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) of a picture of ``size`` after :func:`to_input`, before padding; rounded down."""
    return int(size[0] * scale), int(size[1] * scale)


def padded_size(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """(height, width) rounded up to multiples of ``divisor``."""
    height, width = (-(-side // divisor) * divisor for side in size)
    return height, width


def scale_matrix(scale: float) -> NDArray[np.float64]:
    """(4, 4) from (u * d, v * d, d) in pixels of the file to that of the input; it ignores the rounding of sizes."""
    return np.diag([scale, scale, 1.0, 1.0])


def to_input(image: Pixels, mean: Sequence[float], std: Sequence[float], scale: float, *, swap: bool = False) -> Pixels:
    """Scale (bilinear) and normalise a picture: (H, W, 3) of 0 to 255 to (h, w, 3).

    Both steps are linear, so that their order matters for rounding only. Scaling comes first because it leaves fewer
    pixels to normalise.

    Args:
        image: float32.
        mean: mean of each channel of the result.
        std: standard deviation of each channel of the result.
        scale: factor of height and width, see :func:`scaled_size`.
        swap: whether to reverse the order of the channels.
    """
    height, width = scaled_size((image.shape[0], image.shape[1]), scale)
    result: Any = image
    if (height, width) != image.shape[:2]:
        result = cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR)
    if swap:
        result = swap_red_blue(result)
    shift: Any = (*mean, 0.0)
    factor: Any = (*(1 / value for value in std), 0.0)
    return cast(Pixels, cv2.multiply(cv2.subtract(result, shift, dtype=cv2.CV_32F), factor))


def swap_red_blue(image: NDArray[Any]) -> NDArray[Any]:
    """RGB to BGR or back, (H, W, 3). cv2 is ten times as fast as NumPy's reversal."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
