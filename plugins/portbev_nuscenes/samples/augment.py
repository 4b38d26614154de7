"""Augmentation of images (ida) and of the bird's-eye view (bda), as BEVDepth does it.

Random draws come from any object with ``uniform`` and ``choice``: a keyed generator in training, and in the reference
tests a ``numpy.random.RandomState``, which reproduces the original's draws. Matrices are float64 and made from the same
parameters as the pixels. Source: Megvii-BaseDetection/BEVDepth, ``datasets/nusc_det_dataset.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portbev.rng import Draws
from portbev_nuscenes.config import BevAug, ImageAug

Array = NDArray[np.float64]


class ImageTransform(NamedTuple):
    """One camera's image augmentation, applied in this order: resize, crop, flip, rotate.

    Attributes:
        resize: factor from source to resized pixels.
        size: (width, height) after the resize.
        crop: (left, upper) corner of the crop in the resized image; pixels outside the image are black.
        flip: mirror left and right.
        rotate: degrees, counter-clockwise as seen, about the middle of the result.
    """

    resize: float
    size: tuple[int, int]
    crop: tuple[int, int]
    flip: bool
    rotate: float


class BevTransform(NamedTuple):
    """Augmentation of the ego frame: rotate about z, scale, then mirror.

    Attributes:
        rotate: degrees, from x towards y.
        scale: factor on lengths.
        flip_x, flip_y: negate x, negate y.
    """

    rotate: float
    scale: float
    flip_x: bool
    flip_y: bool


def draw_image(section: ImageAug, rng: Draws) -> ImageTransform:
    """Training augmentation of a camera. Order of the draws: resize, bottom crop, left crop, flip (if on), rotate."""
    (height, width), (final_height, final_width) = section.source_size, section.final_size
    resize = rng.uniform(*section.resize)
    new_width, new_height = int(width * resize), int(height * resize)
    upper = int((1 - rng.uniform(*section.bottom_crop)) * new_height) - final_height
    left = int(rng.uniform(0, max(0, new_width - final_width)))
    flip = bool(section.flip and rng.choice([0, 1]))
    rotate = float(rng.uniform(*section.rotate))
    return ImageTransform(float(resize), (new_width, new_height), (left, upper), flip, rotate)


def middle_image(section: ImageAug) -> ImageTransform:
    """Transform for evaluation: the smallest resize that fills the input, then a crop at the middle of the bottom."""
    (height, width), (final_height, final_width) = section.source_size, section.final_size
    resize = max(final_height / height, final_width / width)
    # the ratio is not exact: 1600 * (704 / 1600) must not become 703
    new_width, new_height = int(width * resize + 1e-6), int(height * resize + 1e-6)
    upper = int((1 - float(np.mean(section.bottom_crop))) * new_height) - final_height
    left = int(max(0, new_width - final_width) / 2)
    return ImageTransform(resize, (new_width, new_height), (left, upper), False, 0.0)


def draw_bev(section: BevAug, rng: Draws) -> BevTransform:
    """Training augmentation of the ego frame. Order of the draws: rotate, scale, flip x, flip y."""
    rotate, scale = float(rng.uniform(*section.rotate)), float(rng.uniform(*section.scale))
    return BevTransform(rotate, scale, bool(rng.uniform() < section.flip_x), bool(rng.uniform() < section.flip_y))


IDENTITY_BEV = BevTransform(0.0, 1.0, False, False)


def _rotation(degrees: float) -> Array:
    """(2, 2) rotation of pixels (x right, y down) that looks counter-clockwise on the screen."""
    angle = degrees / 180 * np.pi
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def image_matrix(transform: ImageTransform, final_size: tuple[int, int]) -> Array:
    """(4, 4) matrix from source pixels (u, v, ., 1) to input pixels; ``final_size`` is (height, width)."""
    height, width = final_size
    linear, shift = transform.resize * np.eye(2), -np.array(transform.crop, np.float64)
    if transform.flip:
        mirror = np.diag([-1.0, 1.0])
        linear, shift = mirror @ linear, mirror @ shift + np.array([width, 0.0])
    rotation, centre = _rotation(transform.rotate), np.array([width, height]) / 2
    matrix = np.eye(4)
    matrix[:2, :2] = rotation @ linear
    matrix[:2, 3] = rotation @ (shift - centre) + centre
    return matrix


def transform_image(image: Image.Image, transform: ImageTransform, final_size: tuple[int, int]) -> Image.Image:
    """The image resized (bicubic), cropped, mirrored and rotated (nearest, black outside) to ``final_size``."""
    height, width = final_size
    left, upper = transform.crop
    image = image.resize(transform.size, Image.Resampling.BICUBIC).crop((left, upper, left + width, upper + height))
    if transform.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.rotate(transform.rotate) if transform.rotate else image


def transform_depth(
    points: NDArray[np.float32], transform: ImageTransform, final_size: tuple[int, int]
) -> NDArray[np.float32]:
    """Depth map (H, W) float32 in metres, 0 where no point falls, from (n, 3) [u v depth] in source pixels.

    Steps and rounding are the original's: float32 after every step, and truncation towards zero, so that u in (-1, 0)
    falls into column 0. Of several points in a pixel the last one is kept, not the nearest.
    """
    height, width = final_size
    uv = points[:, :2] * np.float32(transform.resize)
    uv -= np.array(transform.crop, np.float32)
    if transform.flip:
        uv[:, 0] = width - uv[:, 0]
    centre = np.array([width / 2, height / 2], np.float32)
    uv = ((uv - centre).astype(np.float64) @ _rotation(transform.rotate).T).astype(np.float32) + centre
    column, row = uv.astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    depth = np.zeros((height, width), np.float32)
    depth[row[inside], column[inside]] = points[inside, 2]
    return depth


def bev_matrix(transform: BevTransform) -> Array:
    """(4, 4) matrix from the ego frame to the augmented one: mirror @ scale @ rotation about z."""
    angle = np.deg2rad(transform.rotate)
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    mirror = np.diag([-1.0 if transform.flip_x else 1.0, -1.0 if transform.flip_y else 1.0, 1.0])
    matrix = np.eye(4)
    matrix[:3, :3] = mirror @ (transform.scale * rotation)
    return matrix


def transform_bev_boxes(boxes: Array, transform: BevTransform) -> Array:
    """Boxes (n, 9) in the augmented ego frame; extents and velocities are scaled too."""
    matrix, boxes = bev_matrix(transform), np.array(boxes, np.float64)
    boxes[:, :3] = boxes[:, :3] @ matrix[:3, :3].T
    boxes[:, 3:6] *= transform.scale
    boxes[:, 6] += np.deg2rad(transform.rotate)
    if transform.flip_x:
        boxes[:, 6] = np.pi - boxes[:, 6]
    if transform.flip_y:
        boxes[:, 6] = -boxes[:, 6]
    boxes[:, 7:9] = boxes[:, 7:9] @ matrix[:2, :2].T
    return boxes
