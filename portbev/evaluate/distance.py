"""Ranges of distance to which scoring can be confined."""

from __future__ import annotations

import math
import re

from portbev.errors import PortbevError

Within = tuple[float, float]
"""Nearest and farthest horizontal distance from the sensor's vehicle [m]: scored is what lies from the first up to, and
without, the second. The second may be infinite."""

_CURE = "Write NEAR-FAR or NEAR- in metres: 0-30, 30-50, 30-"
_RANGE = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)?")


def parse_range(text: str) -> Within:
    """``0-30``, ``12.5-30``, or ``30-`` without an end.

    Raises:
        PortbevError: anything else, or a range that holds nothing.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise PortbevError(f"cannot read {text!r}", where="--range", cure=_CURE)
    return checked_range((float(found[1]), math.inf if found[2] is None else float(found[2])), where="--range")


def checked_range(within: Within, *, where: str = "within") -> Within:
    """``within`` as two floats.

    Raises:
        PortbevError: a distance below zero, NaN, or a range that ends where it begins or before.
    """
    near, far = map(float, within)
    if not (0 <= near < math.inf) or math.isnan(far):
        raise PortbevError(f"{near:g}-{far:g} is no range of distances", where=where, cure=_CURE)
    if far <= near:
        cure = f"The nearer distance comes first: {far:g}-{near:g}" if far < near else _CURE
        raise PortbevError(f"{near:g}-{far:g} holds nothing", where=where, cure=cure)
    return near, far


def range_name(within: Within) -> str:
    """``0-30m``, ``30m-``: for people, and for names of folders."""
    near, far = within
    return f"{near:g}-{far:g}m" if math.isfinite(far) else f"{near:g}m-"


def range_record(within: Within) -> list[float | None]:
    """``within`` as JSON values: None for no end."""
    near, far = within
    return [near, far if math.isfinite(far) else None]
