"""Camera pictures as BEVFormer's network sees them: normalised, scaled, padded.

Padded last, so that the padding is 0 in normalised units. Source: fundamentalvision/BEVFormer,
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
    """(height, width) of a picture of ``size`` after :func:`to_input`, before padding: cut to whole numbers."""
    return int(size[0] * scale), int(size[1] * scale)


def padded_size(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """(height, width) brought up to multiples of ``divisor``."""
    height, width = (-(-side // divisor) * divisor for side in size)
    return height, width


def scale_matrix(scale: float) -> NDArray[np.float64]:
    """(4, 4) from pixels of the files, times depth, to those of the input. The cut of a size does not change it."""
    return np.diag([scale, scale, 1.0, 1.0])


def to_input(image: Pixels, mean: Sequence[float], std: Sequence[float], scale: float, *, swap: bool = False) -> Pixels:
    """(h, w, 3) scaled (bilinear) and normalised from (H, W, 3) of 0 to 255.

    Both are linear, so that their order matters to rounding only; fewer pixels are cheaper to normalise.

    Args:
        image: float32.
        mean, std: per channel of the result.
        scale: of height and width, see :func:`scaled_size`.
        swap: the result's channels are the image's in reverse.
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
    """RGB as BGR and the other way round, (H, W, 3); cv2 is ten times as fast as NumPy's reversal."""
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
