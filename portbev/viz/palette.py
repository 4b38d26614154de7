"""Colours, told apart on asphalt, sky and the dark of the bird's-eye view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Colour = tuple[int, int, int]

SERIES: tuple[Colour, ...] = (
    (255, 163, 51),
    (77, 181, 255),
    (255, 95, 176),
    (163, 224, 72),
    (201, 139, 255),
    (255, 224, 77),
    (255, 92, 77),
    (31, 224, 192),
    (232, 205, 165),
    (159, 179, 200),
)
"""RGB of classes that nobody chose a colour for, in turn."""

PAGE: Colour = (17, 21, 26)
PANEL: Colour = (24, 29, 36)
RING: Colour = (52, 61, 73)
TEXT: Colour = (226, 231, 238)
SOFT: Colour = (140, 151, 166)
TRUTH: Colour = (255, 255, 255)
SHADOW: Colour = (8, 10, 13)


@dataclass(frozen=True)
class Classes:
    """The classes of what is drawn: names and RGB by label."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    @classmethod
    def of(cls, names: Sequence[str], chosen: Mapping[str, Colour] | None = None) -> Classes:
        """``names`` in the order of their labels; those without a ``chosen`` colour take one of :data:`SERIES`."""
        own = dict(chosen or {})
        return cls(tuple(names), tuple(own.get(name, SERIES[n % len(SERIES)]) for n, name in enumerate(names)))
