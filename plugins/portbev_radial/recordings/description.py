"""The radar of a data root, ``radar.json``."""

from __future__ import annotations

import json
from pathlib import Path

from portbev.errors import DataError, nearest
from portbev.signal.description import RadarDescription
from portbev_radial.recordings.layout import RADAR_DESCRIPTION


def read_description(root: Path) -> RadarDescription:
    """The radar that ``radar.json`` describes, or RADIal's where there is no such file.

    Raises:
        DataError: a file that cannot be read or does not describe a radar.
    """
    path = root / RADAR_DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return RadarDescription()
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(values, dict):
        raise DataError("holds no description of a radar", where=str(path))
    for name in values:
        if name not in RadarDescription.names():
            raise DataError(f"unknown field {name!r}", where=str(path), cure=nearest(name, RadarDescription.names()))
    try:
        return RadarDescription(**values)
    except (TypeError, ValueError) as error:
        raise DataError(f"does not describe a radar: {error}", where=str(path)) from error
