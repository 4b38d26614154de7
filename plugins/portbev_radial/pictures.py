"""Preprocessing of camera pictures for EchoFusion's network.

The steps of the original: BGR as float32, photometric distortion, normalisation, zero padding to a multiple of 32 at
the right and below, grid mask. Scaling, which the original does not have, is done together with the normalisation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.data.pictures.gridmask import draw_grid_mask
from portbev.data.pictures.photometric import distort, draw_distortion
from portbev.data.pictures.pixels import padded_size, to_input
from portbev_radial.config import RadialData


def network_input(
    picture: NDArray[np.uint8], section: RadialData, rng: np.random.Generator | None
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Preprocess a picture: (3, H, W) float32, and the (height, width) before padding.

    Args:
        picture: (h, w, 3) uint8, blue green red.
        section: scale, mean, std, order of the channels, padding, augmentation.
        rng: draws the augmentation; None for no augmentation.
    """
    image = picture.astype(np.float32)
    if rng is not None and section.photometric:
        image = distort(image, draw_distortion(rng))
    if not section.bgr:
        image = np.ascontiguousarray(image[..., ::-1])
    image = to_input(image, section.mean, section.std, section.scale)
    height, width = image.shape[:2]
    padded = padded_size((height, width), section.pad_divisor)
    planes = np.zeros((3, *padded), np.float32)
    planes[:, :height, :width] = image.transpose(2, 0, 1)
    if rng is not None and section.grid_mask:
        planes *= draw_grid_mask(padded, rng)
    return planes, (height, width)
