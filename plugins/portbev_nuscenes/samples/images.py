"""Read camera images completely, and normalise them for the network.

A picture becomes RGB of 8 bits whatever it holds: grey, palette, alpha (dropped) or CMYK; of 16 bits the upper eight
remain. An orientation in EXIF is ignored, because intrinsics and boxes are of the pixels as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_nuscenes.config import ImageAug

FETCH_AGAIN = "Fetch the file again"


def image_size(path: DataPath) -> tuple[int, int]:
    """(height, width) of an image file; only its header is read.

    Raises:
        DataError: no such file, or no image.
    """
    with _errors(path, ""), path.open("rb") as file, Image.open(file) as opened:
        return opened.height, opened.width


def is_deep(path: DataPath) -> bool:
    """Whether a picture is grey of more than 8 bits; only its header is read.

    Raises:
        DataError: no such file, or no image.
    """
    with _errors(path, ""), path.open("rb") as file, Image.open(file) as opened:
        return opened.mode.startswith("I")


def read_image(path: DataPath, source_size: tuple[int, int], *, token: str = "", cure: str = "") -> Image.Image:
    """Read and decode an image as RGB of 8 bits; see the head of this file for other modes.

    Args:
        path: the file.
        source_size: (height, width) that the image must have, because intrinsics and augmentation rely on it.
        token: the sample it belongs to, named in errors.
        cure: advice for an image of another size; by default to set data.image.source_size.

    Raises:
        DataError: missing, truncated or damaged file, or another size.
    """
    with _errors(path, _of(token)), path.open("rb") as file, Image.open(file) as opened:
        if opened.size == (source_size[1], source_size[0]):  # by its header, before memory is taken for its pixels
            return to_rgb(opened)
        width, height = opened.size
    raise DataError(
        f"image is {width} x {height}, expected {source_size[1]} x {source_size[0]}{_of(token)}",
        where=str(path),
        cure=cure or f"Set data.image.source_size=[{height},{width}]",
    )


def open_image(path: DataPath, *, token: str = "") -> Image.Image:
    """An image of any size, decoded as RGB of 8 bits; ``token`` is the sample it belongs to, named in errors.

    Raises:
        DataError: missing, truncated or damaged file.
    """
    with _errors(path, _of(token)), path.open("rb") as file, Image.open(file) as opened:
        return to_rgb(opened)


def _of(token: str) -> str:
    return f" (sample {token})" if token else ""


def to_rgb(image: Image.Image) -> Image.Image:
    """An opened image, decoded as RGB of 8 bits.

    Raises:
        ValueError: pixels whose range is not known: floating point, or integers of more than 16 bits.
        OSError: truncated or damaged.
    """
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers, which have no known range: write 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image.convert("RGB")
    grey = np.asarray(image).astype(np.int64)
    if grey.min(initial=0) < 0 or grey.max(initial=0) > 0xFFFF:
        raise ValueError("pixels are integers of more than 16 bits, which have no known range: write 8 or 16 bits")
    return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")


@contextmanager
def _errors(path: DataPath, suffix: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"image is missing{suffix}", where=str(path), cure="Check the data root") from error
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"image is damaged or truncated{suffix}: {error}", where=str(path), cure=FETCH_AGAIN) from error


def normalise(image: NDArray[np.uint8], section: ImageAug) -> NDArray[np.float32]:
    """(3, H, W) float32, (value - mean) / std per channel, of RGB pixels (H, W, 3).

    ``reverse_channels`` reproduces a quirk of the original: it converts "to RGB" pixels that are RGB already, so that
    the network sees BGR, normalised with the means of R, G, B in this order. The official weights expect that.
    """
    steps = np.arange(256, dtype=np.float32)
    scale = [1 / np.float64(std) for std in section.std]
    planes = [(steps - np.float32(mean)) * np.float32(factor) for mean, factor in zip(section.mean, scale, strict=True)]
    channels = (2, 1, 0) if section.reverse_channels else (0, 1, 2)
    return np.stack([plane[image[..., channel]] for plane, channel in zip(planes, channels, strict=True)])
