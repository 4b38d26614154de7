"""Colours that can be distinguished on asphalt, on sky and on the dark bird's-eye view."""

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
"""RGB colours for classes that have none of their own, in the order of their labels."""

PAGE: Colour = (17, 21, 26)
PANEL: Colour = (24, 29, 36)
RING: Colour = (52, 61, 73)
TEXT: Colour = (226, 231, 238)
SOFT: Colour = (140, 151, 166)
TRUTH: Colour = (255, 255, 255)
SHADOW: Colour = (8, 10, 13)


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours of the classes, by label."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    @classmethod
    def of(cls, names: Sequence[str], chosen: Mapping[str, Colour] | None = None) -> Classes:
        """Classes with ``names`` in the order of their labels. Those without a ``chosen`` colour get one of SERIES."""
        colours = dict(chosen or {})
        return cls(tuple(names), tuple(colours.get(name, SERIES[i % len(SERIES)]) for i, name in enumerate(names)))
