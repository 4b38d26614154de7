"""How many values a point of a lidar file has, told from the numbers.

Files of raw float32 values say nothing about their columns. Values of one column resemble those of the next point more
than values of another column do, so that the right number of values per point is the distance at which the numbers of
the file differ least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CANDIDATES = range(3, 9)
"""Numbers of values per point that are tried."""

CLEARLY = 0.7
"""Another number of values is believed where the numbers differ by less than this share of what they do as declared."""

_ENOUGH = 64  # points; fewer tell nothing
_LOOKED_AT = 60_000  # values
_NAMES = {3: "x y z", 4: "x y z intensity", 5: "x y z intensity ring", 6: "x y z and three more"}
_FORMATS = {b"# .PCD": "a PCD file with a header", b"VERSION": "a PCD file with a header", b"\x93NUMPY": "a NumPy file"}
_FORMATS |= {b"ply\n": "a PLY file", b"LASF": "a LAS file", b"PK\x03\x04": "a zip archive (.npz)"}


def foreign(content: NDArray[np.uint8]) -> str:
    """What a file is that starts like another format; empty if it may hold raw float32 values."""
    start = content[:8].tobytes()
    return next((name for magic, name in _FORMATS.items() if start.startswith(magic)), "")


def refusal(content: NDArray[np.uint8], values: int) -> tuple[str, str]:
    """What is wrong with a file that cannot be ``values`` float32 values a point, and the cure."""
    if found := foreign(content):
        return f"lidar file is {found}", "Write its points as raw float32 values, x y z first (see data.lidar_values)"
    likely = likely_values(content, values)
    if likely and likely != values:
        return mismatch(content.size, values, likely)
    what = f"lidar file is truncated: {content.size} bytes, not a multiple of {4 * values}"
    return what, "Fetch it again, or set data.lidar_values if its points have another number of float32 values"


def mismatch(size: int, values: int, likely: int) -> tuple[str, str]:
    """The line for a file whose layout is another one, and the cure."""
    named = f" ({_NAMES[likely]})" if likely in _NAMES else ""
    what = f"lidar file of {size} bytes has the layout of {likely} floats a point{named}, not {values}"
    return what, f"Set data.lidar_values={likely}; x y z must come first"


def likely_values(content: NDArray[np.uint8], values: int) -> int:
    """Number of float32 values a point that the numbers of a file speak for: ``values`` unless another is clearly so.

    0 where the file is too small to tell.
    """
    numbers = content[: content.size // 4 * 4].view(np.float32)
    if numbers.size < _ENOUGH * max(CANDIDATES):
        return 0
    with np.errstate(invalid="ignore", over="ignore"):
        squeezed = np.arcsinh(np.clip(numbers[:_LOOKED_AT].astype(np.float64), -1e6, 1e6))
    apart = {count: _difference(squeezed, count) for count in {*CANDIDATES, values}}
    least = min(apart.values())
    best = min(count for count, change in apart.items() if change <= 1.1 * least + 1e-12)  # not a multiple of it
    return best if values % best == 0 or apart[best] < CLEARLY * apart[values] else values


def _difference(numbers: NDArray[np.float64], distance: int) -> float:
    """Mean absolute difference of finite numbers that are ``distance`` apart."""
    change = np.abs(numbers[distance:] - numbers[:-distance])
    finite = np.isfinite(change)
    return float(change[finite].mean()) if finite.any() else np.inf
