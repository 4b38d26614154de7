"""Masks of nuImages, by pycocotools (extra ``nuimages``)."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError, PortbevError
from portbev_nuscenes.nuimages.rows import Mask


def cocotools() -> Any:
    """``pycocotools.mask``.

    Raises:
        PortbevError: it is not installed.
    """
    try:
        import pycocotools.mask
    except ImportError as error:
        raise PortbevError(
            "masks of nuImages are read by pycocotools, which is not installed", cure="pip install 'portbev[nuimages]'"
        ) from error
    return pycocotools.mask


def counts_of(mask: Mask, where: str) -> str:
    """The run lengths as COCO's text.

    Raises:
        DataError: they are not base64 of it.
    """
    try:
        return base64.b64decode(mask.counts, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise DataError(f"the mask's counts are no base64 ({error})", where=where) from error


def decoded(mask: Mask, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """(height, width) of ``size``.

    Raises:
        DataError: the mask is of another size, or its runs do not fill it.
    """
    if mask.size != size:
        raise DataError(f"the mask is of {mask.size}, its picture of {size} (height, width)", where=where)
    coded = {"size": list(size), "counts": counts_of(mask, where).encode()}
    try:
        found = cocotools().decode(coded)
    except ValueError as error:
        raise DataError(f"the mask cannot be decoded ({error})", where=where) from error
    return np.asarray(found, dtype=bool)


def encoded(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A mask (height, width) as a nuImages table holds it."""
    coded = cocotools().encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(n) for n in coded["size"]], "counts": base64.b64encode(coded["counts"]).decode("ascii")}
