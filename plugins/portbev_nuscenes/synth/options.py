"""What a synthetic data set is made of."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import parse_qsl

from portbev.errors import ConfigError

#: Raised whenever the same options would give other bytes than before.
GENERATOR_VERSION = 5
TRAIN_SPLIT, VAL_SPLIT = "synth_train", "synth_val"

_LIMITS = {
    "scenes": (1, 9999),
    "samples_per_scene": (1, 200),
    "sweeps": (0, 9),
    "lidar_beams": (1, 128),
    "lidar_steps": (8, 4096),
    "jpeg_quality": (10, 100),
    "supersample": (0, 4),
    "can_bus": (0, 1),
}


@dataclass(frozen=True)
class SynthOptions:
    """Everything that decides the bytes of a synthetic nuScenes data set.

    Args:
        scenes: scenes in all, training and validation.
        val_scenes: how many of them, the last ones, make the split ``synth_val``; a fifth, rounded up, by default.
        samples_per_scene: key frames per scene, at 2 Hz (nuScenes has about 40).
        seed: of every random draw.
        image_size: (width, height) in pixels; the intrinsics of the 1600 x 900 rig are scaled with it.
        sweeps: camera and lidar frames between two key frames.
        lidar_beams: rings of the lidar, from -30.67 to +10.67 degrees.
        lidar_steps: rays per ring and turn.
        density: factor on the number of objects per metre of road.
        reach: metres of road before and behind the ego's way on which there are objects; less brings them nearer.
        version: folder of the tables; the devkit wants a name that ends with ``mini``, ``trainval`` or ``test``.
        jpeg_quality: 10 to 100.
        supersample: edge smoothing, rendered pixels per image pixel and axis; 0 chooses 2 up to 800 pixels of
            width, else 1.
        can_bus: 1 writes the folder ``can_bus`` with the ego's motion, 0 does not.

    Raises:
        ConfigError: for a value outside its range.
    """

    scenes: int = 10
    val_scenes: int | None = None
    samples_per_scene: int = 20
    seed: int = 0
    image_size: tuple[int, int] = (1600, 900)
    sweeps: int = 1
    lidar_beams: int = 32
    lidar_steps: int = 1080
    density: float = 1.0
    reach: float = 52.0
    version: str = "v1.0-mini"
    jpeg_quality: int = 90
    supersample: int = 0
    can_bus: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_size", tuple(int(side) for side in self.image_size))
        for name, (low, high) in _LIMITS.items():
            _check_range(name, getattr(self, name), low, high)
        if len(self.image_size) != 2 or not all(32 <= side <= 8192 for side in self.image_size):
            raise _bad("image_size", "WIDTHxHEIGHT, each side from 32 to 8192", self.image_size)
        if self.val_scenes is not None:
            _check_range("val_scenes", self.val_scenes, 0, self.scenes)
        if not (math.isfinite(self.density) and 0 <= self.density <= 3):
            raise _bad("density", "a number from 0 to 3", self.density)
        if not (math.isfinite(self.reach) and 20 <= self.reach <= 80):
            raise _bad("reach", "a number of metres from 20 to 80", self.reach)
        if not self.version or not all(letter.isalnum() or letter in "._-" for letter in self.version):
            raise _bad("version", "a folder name such as v1.0-mini", self.version)

    @property
    def validation_count(self) -> int:
        """Scenes in ``synth_val``: as asked, or a fifth rounded up while one scene is left to train on."""
        if self.val_scenes is not None:
            return self.val_scenes
        return min(math.ceil(self.scenes / 5), self.scenes - 1)

    @property
    def smoothing(self) -> int:
        """Rendered pixels per image pixel and axis."""
        return self.supersample or (2 if self.image_size[0] <= 800 else 1)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready mapping of all options."""
        return {**asdict(self), "image_size": list(self.image_size)}

    def digest(self) -> str:
        """16 hex digits that name these options and the generator's version."""
        text = json.dumps([GENERATOR_VERSION, {**self.as_dict(), "val_scenes": self.validation_count}], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def from_dict(values: dict[str, Any]) -> SynthOptions:
    """Options from a JSON mapping, as written by :meth:`SynthOptions.as_dict`.

    Raises:
        ConfigError: for an unknown option or a value outside its range.
    """
    known = [field.name for field in fields(SynthOptions)]
    for name in values:
        if name not in known:
            raise _unknown(name, known)
    return SynthOptions(**values)


def from_query(query: str) -> SynthOptions:
    """Options from a query such as ``scenes=40&image_size=480x270``.

    Raises:
        ConfigError: for an unknown option, a value of the wrong type or one outside its range.
    """
    types = {field.name: str(field.type) for field in fields(SynthOptions)}
    values: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in types:
            raise _unknown(name, list(types))
        values[name] = _parse(name, text, types[name])
    return SynthOptions(**values)


def parse_image_size(text: str) -> tuple[int, int]:
    """``"480x270"`` as (480, 270).

    Raises:
        ConfigError: when the text is not two whole numbers with an x between them.
    """
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise _bad("image_size", "WIDTHxHEIGHT such as 480x270", text)
    return int(width), int(height)


def _parse(name: str, text: str, kind: str) -> Any:
    if name == "image_size":
        return parse_image_size(text)
    if kind == "str":
        return text
    convert, wanted = (float, "a number") if kind == "float" else (int, "a whole number")
    try:
        return convert(text)
    except ValueError:
        raise _bad(name, wanted, text) from None


def _check_range(name: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _bad(name, f"a whole number from {low} to {high}", value)


def _bad(name: str, wanted: str, value: Any) -> ConfigError:
    return ConfigError(f"{name} must be {wanted}, not {value!r}", where="synthetic data")


def _unknown(name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return ConfigError(
        f"unknown option {name!r}", where="synthetic data", cure=f"Did you mean {near[0]!r}? Known: {', '.join(known)}"
    )
