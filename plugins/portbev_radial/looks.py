"""What there is to see in a split before the first step: sizes of pictures, times, places of boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_radial.sources import Source

SIZE_CURE = "Give all pictures in the size they were recorded in; data.scale resizes pictures and calibration"
SCALES = (0.75, 1.33)
"""Size of pictures over twice the principal point, as a geometric mean of both axes: RADIal's is 1.0."""


def picture_size(source: Source, root: DataPath) -> tuple[int, int] | None:
    """(height, width) of all pictures of a split; None if it has none.

    Raises:
        DataError: pictures of several sizes, or of another size than the calibration is for; says how many, and the
            first.
    """
    sizes = source.sizes()
    if not sizes:
        return None
    common = max(sizes, key=lambda size: len(sizes[size]))
    if len(sizes) > 1:
        other, numbers = next((size, numbers) for size, numbers in sizes.items() if size != common)
        odd = sum(map(len, sizes.values())) - len(sizes[common])
        what = f"{odd} pictures are not {_shown(common)} as the others: sample {numbers[0]:06d} has {_shown(other)}"
        raise DataError(what, where=str(root), cure=SIZE_CURE)
    middle = source.camera.intrinsic[:2, 2]
    if (middle <= 0).any():
        raise DataError(f"the camera's principal point is {middle.tolist()}, outside the picture", where=str(root))
    scale = math.sqrt(common[0] * common[1] / (4 * float(middle.prod())))
    if not SCALES[0] < scale < SCALES[1]:
        point = " x ".join(f"{value:.0f}" for value in middle)
        what = f"pictures are {_shown(common)}, but the middle of the camera's calibration is at {point}"
        raise DataError(what, where=str(root), cure=SIZE_CURE)
    return common


def facts(boxes: Sequence[NDArray[np.float64]], source: Source, padding: float | None) -> dict[str, float | int | None]:
    """What else a person should look at, by a name with its unit.

    Args:
        boxes: those of each sample that count, (n, 9).
        padding: share of the network's input that is padding; None: there are no pictures.
    """
    gaps = np.concatenate([np.diff(times) for times in source.times()] or [np.empty(0)])
    centres = np.concatenate([sample[:, :2] for sample in boxes] or [np.empty((0, 2))])
    found: dict[str, float | int | None] = {
        "samples without boxes": sum(not len(sample) for sample in boxes),
        "samples left out": source.lost,
        "median time between samples [s]": float(np.median(gaps)) if len(gaps) else None,
    }
    if len(centres):
        azimuth = np.degrees(np.arctan2(centres[:, 1], centres[:, 0]))
        found["farthest box [m]"] = float(np.hypot(*centres.T).max())
        found["largest azimuth of a box [deg]"] = float(np.abs(azimuth).max())
    if padding is not None:
        found["share of a picture that is padding"] = padding
    return found


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
