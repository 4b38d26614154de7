"""Options of generated RADIal recordings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from portbev.data.generated.options import GeneratedOptions

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
class RadialSynthOptions(GeneratedOptions):
    """Everything that decides the bytes of generated recordings.

    Args:
        sequences: recorded sequences in all.
        frames: labelled radar frames per sequence.
        val_sequences, test_sequences: how many sequences get the name of an official validation or test sequence, so
            that the official split applies; at most 4 each. By default each is a fifth of the sequences, rounded up; no
            test sequence if there is only one sequence, no validation sequence if there are fewer than three.
        seed: of every random draw.
        image_size: (width, height) of the camera pictures.
        samples, chirps: size of a radar frame; RADIal has 512 and 256. With fewer the radar has the same range but a
            coarser resolution, for small machines, and ``radar.json`` describes it.
        azimuths, elevations: size of the calibration table, from -75 to 75 and from -5 to 5 degrees.
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

    where: ClassVar[str] = "synthetic RADIal data"
    format: ClassVar[str] = "portbev.synthetic-radial"
    generator_version: ClassVar[int] = 2

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
        for name, (low, high) in _WHOLE.items():
            self.check_whole(name, low, high)
        for name, (least, most) in _REAL.items():
            self.check_real(name, least, most)
        if self.chirps % DOPPLER_SLOTS:
            raise self.wrong("chirps", f"a multiple of {DOPPLER_SLOTS}")
        self.check_image_size(32, 4096)
        for name in ("val_sequences", "test_sequences"):
            if getattr(self, name) is not None:
                self.check_whole(name, 0, 4)
        if self.validation_count + self.test_count > self.sequences:
            raise self.wrong("sequences", "at least val_sequences + test_sequences")

    @property
    def test_count(self) -> int:
        """Number of sequences of the test split."""
        if self.test_sequences is not None:
            return self.test_sequences
        return min(4, math.ceil(self.sequences / 5)) if self.sequences > 1 else 0

    @property
    def validation_count(self) -> int:
        """Number of sequences of the validation split."""
        if self.val_sequences is not None:
            return self.val_sequences
        return min(4, math.ceil(self.sequences / 5)) if self.sequences > 2 else 0

    def resolved(self) -> dict[str, Any]:
        return {**self.as_dict(), "val_sequences": self.validation_count, "test_sequences": self.test_count}
