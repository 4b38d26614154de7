"""The radar's description, ``radar.json``. May import: signal, layout, errors."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from portbev.data.radial.layout import RADAR_DESCRIPTION
from portbev.errors import DataError


@dataclass(frozen=True)
class RadarDescription:
    samples: int = 512
    chirps: int = 256
    range_max: float = 103.0
    doppler_slots: int = 16
    slots: tuple[int, ...] = (0, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

    @property
    def values_per_chip(self) -> int:
        return 2 * self.samples * 4 * self.chirps

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read_description(root: Path) -> RadarDescription:
    """The radar of a data root: that of ``radar.json``, or RADIal's where there is no such file.

    Raises:
        DataError: a file that cannot be read or does not describe a radar.
    """
    path = root / RADAR_DESCRIPTION
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it holds no object")
        return RadarDescription(**values)
    except FileNotFoundError:
        return RadarDescription()
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"does not describe a radar: {error}", where=str(path)) from error
