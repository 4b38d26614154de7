"""Colours."""

from __future__ import annotations

from portbev_nuscenes.classes import DETECTION_CLASSES

Colour = tuple[int, int, int]

CLASS_COLOURS: dict[str, Colour] = {
    "car": (255, 163, 51),
    "truck": (255, 92, 77),
    "bus": (255, 224, 77),
    "trailer": (201, 139, 255),
    "construction_vehicle": (163, 224, 72),
    "pedestrian": (77, 181, 255),
    "motorcycle": (255, 95, 176),
    "bicycle": (31, 224, 192),
    "traffic_cone": (232, 205, 165),
    "barrier": (159, 179, 200),
}
"""RGB per detection class, told apart on asphalt, sky and the dark of the bird's-eye view."""

PAGE: Colour = (17, 21, 26)
PANEL: Colour = (24, 29, 36)
RING: Colour = (52, 61, 73)
TEXT: Colour = (226, 231, 238)
SOFT: Colour = (140, 151, 166)
TRUTH: Colour = (255, 255, 255)
SHADOW: Colour = (8, 10, 13)


def colours() -> list[Colour]:
    """RGB by label index (order of ``DETECTION_CLASSES``)."""
    return [CLASS_COLOURS[name] for name in DETECTION_CLASSES]
