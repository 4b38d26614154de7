"""Camera pictures: read whole or refused, normalised for the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from portbev.errors import DataError
from portbev_nuscenes.config import ImageAug

AGAIN = "Fetch the file again"


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image file, of which only the beginning is read.

    Raises:
        DataError: no such file, or no image.
    """
    with _errors(path, ""), Image.open(path) as opened:
        return opened.height, opened.width


def read_image(path: Path, source_size: tuple[int, int], *, token: str = "", cure: str = "") -> Image.Image:
    """Decode an image as RGB, fully.

    Args:
        path: the file.
        source_size: (height, width) that it must have; intrinsics and augmentation rely on it.
        token: the sample it belongs to, named in errors.
        cure: what to do about an image of another size; by default the setting of its true size.

    Raises:
        DataError: missing, truncated or damaged file, or another size.
    """
    of = f" (sample {token})" if token else ""
    with _errors(path, of), Image.open(path) as opened:
        image = opened.convert("RGB")

    if image.size != (source_size[1], source_size[0]):
        width, height = image.size
        raise DataError(
            f"image is {width} x {height}, expected {source_size[1]} x {source_size[0]}{of}",
            where=str(path),
            cure=cure or f"Set data.image.source_size=[{height},{width}]",
        )
    return image


@contextmanager
def _errors(path: Path, of: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"image is missing{of}", where=str(path), cure="Check the data root") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(f"image is damaged or truncated{of}: {error}", where=str(path), cure=AGAIN) from error


def normalise(image: NDArray[np.uint8], section: ImageAug) -> NDArray[np.float32]:
    """(3, H, W) float32, (value - mean) / std per channel, of RGB pixels (H, W, 3).

    Quirk of the original, ``reverse_channels``: it converts "to RGB" pixels that are RGB already, so that the network
    sees BGR, normalised with the means of R, G, B in this order. The official weights expect it.
    """
    steps = np.arange(256, dtype=np.float32)
    scale = [1 / np.float64(std) for std in section.std]
    planes = [(steps - np.float32(mean)) * np.float32(factor) for mean, factor in zip(section.mean, scale, strict=True)]
    channels = (2, 1, 0) if section.reverse_channels else (0, 1, 2)
    return np.stack([plane[image[..., channel]] for plane, channel in zip(planes, channels, strict=True)])
