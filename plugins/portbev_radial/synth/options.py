"""What generated RADIal recordings are made of."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import parse_qsl

from portbev.errors import ConfigError
from portbev_nuscenes.synth.options import parse_image_size

#: Raised whenever the same options would give other bytes than before.
GENERATOR_VERSION = 2
WHERE = "synthetic RADIal data"
DOPPLER_SLOTS = 16

_WHOLE = {
    "sequences": (1, 999),
    "frames": (1, 1000),
    "samples": (16, 512),
    "chirps": (DOPPLER_SLOTS, 256),
    "azimuths": (3, 2001),
    "elevations": (6, 101),
    "oversample": (1, 8),
    "jpeg_quality": (10, 100),
}
_REAL = {"density": (0.0, 3.0), "noise": (0.0, 1000.0), "period": (0.02, 10.0), "reach": (15.0, 100.0)}


@dataclass(frozen=True)
class RadialSynthOptions:
    """Everything that decides the bytes of generated recordings.

    Args:
        sequences: recorded sequences in all.
        frames: labelled radar frames of each.
        val_sequences, test_sequences: how many of them have the name of an official validation or test sequence, so
            that the official split holds; at most 4 each. By default a fifth, rounded up, for the test and, from three
            sequences on, for validation.
        seed: of every random draw.
        image_size: (width, height) of the camera pictures.
        samples, chirps: of a radar frame; RADIal has 512 and 256. Fewer make a radar of coarser cells and the same
            reach, for small machines, which ``radar.json`` then describes.
        azimuths, elevations: of the calibration table, from -75 to 75 and from -5 to 5 degrees.
        noise: standard deviation of I and of Q in counts, at 512 x 256 samples; with fewer it is lowered so that the
            signal-to-noise ratio after both transforms stays the same.
        period: seconds between two frames (RADIal: 0.2).
        oversample: camera, lidar and CAN events per radar frame.
        density: factor on the number of vehicles.
        reach: metres within which vehicles are labelled.
        jpeg_quality: 10 to 100.

    Raises:
        ConfigError: for a value outside its range.
    """

    sequences: int = 4
    frames: int = 10
    val_sequences: int | None = None
    test_sequences: int | None = None
    seed: int = 0
    image_size: tuple[int, int] = (1920, 1080)
    samples: int = 512
    chirps: int = 256
    azimuths: int = 751
    elevations: int = 11
    noise: float = 12.0
    period: float = 0.2
    oversample: int = 1
    density: float = 1.0
    reach: float = 90.0
    jpeg_quality: int = 90

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", tuple(int(side) for side in self.image_size))
        for name, (low, high) in _WHOLE.items():
            _whole(name, getattr(self, name), low, high)
        for name, (least, most) in _REAL.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and least <= value <= most):
                raise _bad(name, f"a number from {least:g} to {most:g}", value)
        if self.chirps % DOPPLER_SLOTS:
            raise _bad("chirps", f"a multiple of {DOPPLER_SLOTS}", self.chirps)
        if len(self.image_size) != 2 or not all(32 <= side <= 4096 for side in self.image_size):
            raise _bad("image_size", "WIDTHxHEIGHT, each side from 32 to 4096", self.image_size)
        for name in ("val_sequences", "test_sequences"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 0, 4)
        if self.validation_count + self.test_count > self.sequences:
            raise _bad("sequences", "at least val_sequences + test_sequences", self.sequences)

    @property
    def test_count(self) -> int:
        """Sequences of the test split."""
        if self.test_sequences is not None:
            return self.test_sequences
        return min(4, math.ceil(self.sequences / 5)) if self.sequences > 1 else 0

    @property
    def validation_count(self) -> int:
        """Sequences of the validation split."""
        if self.val_sequences is not None:
            return self.val_sequences
        return min(4, math.ceil(self.sequences / 5)) if self.sequences > 2 else 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready mapping of all options."""
        return {**asdict(self), "image_size": list(self.image_size)}

    def digest(self) -> str:
        """16 hex digits that name these options and the generator's version."""
        counts = {"val_sequences": self.validation_count, "test_sequences": self.test_count}
        text = json.dumps([GENERATOR_VERSION, {**self.as_dict(), **counts}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_dict(values: dict[str, Any]) -> RadialSynthOptions:
    """Options from a JSON mapping, as :meth:`RadialSynthOptions.as_dict` wrote it.

    Raises:
        ConfigError: for an unknown option or a value outside its range.
    """
    for name in values:
        _known(name)
    return RadialSynthOptions(**values)


def from_query(query: str) -> RadialSynthOptions:
    """Options from a query such as ``sequences=8&samples=64&image_size=480x270``.

    Raises:
        ConfigError: for an unknown option, a value of the wrong type or one outside its range.
    """
    values: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        values[name] = _parse(name, text, _known(name))
    return RadialSynthOptions(**values)


def _parse(name: str, text: str, kind: str) -> Any:
    if name == "image_size":
        return parse_image_size(text)
    convert, wanted = (float, "a number") if kind == "float" else (int, "a whole number")
    try:
        return convert(text)
    except ValueError:
        raise _bad(name, wanted, text) from None


def _known(name: str) -> str:
    """Type of an option, as it is written."""
    types = {field.name: str(field.type) for field in fields(RadialSynthOptions)}
    if name not in types:
        near = difflib.get_close_matches(name, types, n=1, cutoff=0.0)
        cure = f"Did you mean {near[0]!r}? Known: {', '.join(types)}"
        raise ConfigError(f"unknown option {name!r}", where=WHERE, cure=cure)
    return types[name]


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _bad(name, f"a whole number from {low} to {high}", value)


def _bad(name: str, wanted: str, value: Any) -> ConfigError:
    return ConfigError(f"{name} must be {wanted}, not {value!r}", where=WHERE)
