"""Options of a synthetic nuScenes data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from portbev.data.generated.options import GeneratedOptions

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
class SynthOptions(GeneratedOptions):
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
        reach: objects are placed on the ego's way and on this many metres of road before and behind it.
        version: folder of the tables; the devkit wants a name that ends with ``mini``, ``trainval`` or ``test``.
        jpeg_quality: 10 to 100.
        supersample: edge smoothing, rendered pixels per image pixel and axis; 0 chooses 2 up to 800 pixels of
            width, else 1.
        can_bus: 1 writes the folder ``can_bus`` with the ego's motion, 0 does not.

    Raises:
        ConfigError: for a value outside its range.
    """

    where: ClassVar[str] = "synthetic data"
    format: ClassVar[str] = "portbev.synthetic-nuscenes"
    generator_version: ClassVar[int] = 5

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
        for name, (low, high) in _LIMITS.items():
            self.check_whole(name, low, high)
        self.check_image_size(32, 8192)
        if self.val_scenes is not None:
            self.check_whole("val_scenes", 0, self.scenes)
        self.check_real("density", 0, 3)
        self.check_real("reach", 20, 80, "a number of metres")
        if not self.version or not all(letter.isalnum() or letter in "._-" for letter in self.version):
            raise self.wrong("version", "a folder name such as v1.0-mini")

    @property
    def validation_count(self) -> int:
        """Scenes in ``synth_val``: ``val_scenes``, or a fifth, rounded up, that leaves one scene for training."""
        if self.val_scenes is not None:
            return self.val_scenes
        return min(math.ceil(self.scenes / 5), self.scenes - 1)

    @property
    def smoothing(self) -> int:
        """Rendered pixels per image pixel and axis."""
        return self.supersample or (2 if self.image_size[0] <= 800 else 1)

    def resolved(self) -> dict[str, Any]:
        return {**self.as_dict(), "val_scenes": self.validation_count}
