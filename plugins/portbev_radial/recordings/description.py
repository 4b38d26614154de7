"""RADIal's radar, and the radar of a data root (``radar.json``)."""

from __future__ import annotations

from dataclasses import replace

from portbev.errors import DataError, nearest
from portbev.files import parse_json
from portbev.paths import DataPath
from portbev.signal.description import RadarDescription
from portbev_radial.recordings.layout import RADAR_DESCRIPTION

RADIAL_RADAR = RadarDescription(
    samples=512,
    chirps=256,
    rx_per_chip=4,
    chip_order=(3, 0, 1, 2),
    doppler_slots=16,
    slots=(0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    range_max=103.0,
    cfar_window=(9, 9),
    cfar_guard=(3, 3),
    cfar_threshold_db=2.0,
    road_elevation=5,
)
"""The radar that recorded RADIal: 12 transmitters, 16 receivers."""


def read_description(root: DataPath) -> RadarDescription:
    """The radar that ``radar.json`` describes; a field that the file lacks, or the whole file, is RADIal's.

    Raises:
        DataError: a file that cannot be read or does not describe a radar.
    """
    path = root / RADAR_DESCRIPTION
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return RADIAL_RADAR
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(values, dict):
        raise DataError("holds no description of a radar", where=str(path))
    for name in values:
        if name not in RadarDescription.names():
            raise DataError(f"unknown field {name!r}", where=str(path), cure=nearest(name, RadarDescription.names()))
    try:
        return replace(RADIAL_RADAR, **values)
    except (TypeError, ValueError) as error:
        raise DataError(f"does not describe a radar: {error}", where=str(path)) from error
