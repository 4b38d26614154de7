"""The network's input as a picture again, for looking at it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def shown(image: NDArray[np.float32], mean: Sequence[float], std: Sequence[float], *, bgr: bool) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of 8 bits of a normalised input (3, H, W); what lies outside 0 to 255 is clipped.

    Padding and masked pixels are 0 for the network: they come out in the mean colour.

    Args:
        mean, std: those that the input was normalised with, in the order of its channels.
        bgr: the channels are blue, green, red.
    """
    planes = image.transpose(1, 2, 0) * np.asarray(std, np.float32) + np.asarray(mean, np.float32)
    pixels = np.rint(planes.clip(0, 255)).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., ::-1] if bgr else pixels)


def masked(mask: NDArray[np.bool_]) -> str:
    """A grid mask in words."""
    return "no grid mask" if mask.all() else f"a grid mask blanks {1 - mask.mean():.0%}"
