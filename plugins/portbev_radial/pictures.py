"""Preprocessing of camera pictures for EchoFusion's network.

The steps of the original: BGR as float32, photometric distortion, normalisation, zero padding to a multiple of 32 at
the right and below, grid mask. Scaling, which the original does not have, is done together with the normalisation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from portbev.data.pictures.gridmask import draw_grid_mask
from portbev.data.pictures.photometric import Distortion, distort, draw_distortion
from portbev.data.pictures.pixels import padded_size, scaled_size, to_input
from portbev_radial.config import RadialData


class Augmentation(NamedTuple):
    """How a picture is augmented.

    ``distortion`` of its colours, None for none; ``mask`` (H, W) of the padded input, True where it is kept, None for
    none.
    """

    distortion: Distortion | None = None
    mask: NDArray[np.bool_] | None = None


def draw_augmentation(size: tuple[int, int], section: RadialData, rng: np.random.Generator) -> Augmentation:
    """Draw the augmentation of a picture of ``size`` (height, width): first the distortion, then the mask."""
    distortion = draw_distortion(rng) if section.photometric else None
    padded = padded_size(scaled_size(size, section.scale), section.pad_divisor)
    return Augmentation(distortion, draw_grid_mask(padded, rng) if section.grid_mask else None)


def network_input(
    picture: NDArray[np.uint8], section: RadialData, augmentation: Augmentation
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Preprocess a picture: (3, H, W) float32, and the (height, width) before padding.

    Args:
        picture: (h, w, 3) uint8, blue green red.
        section: scale, mean, std, order of the channels, padding.
        augmentation: see :func:`draw_augmentation`.
    """
    image = picture.astype(np.float32)
    if augmentation.distortion is not None:
        image = distort(image, augmentation.distortion)
    if not section.bgr:
        image = np.ascontiguousarray(image[..., ::-1])
    image = to_input(image, section.mean, section.std, section.scale)
    height, width = image.shape[:2]
    padded = padded_size((height, width), section.pad_divisor)
    planes = np.zeros((3, *padded), np.float32)
    planes[:, :height, :width] = image.transpose(2, 0, 1)
    if augmentation.mask is not None:
        planes *= augmentation.mask
    return planes, (height, width)
