"""The description of a radar: sizes, antenna array, DDM slots and detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RadarDescription:
    """A DDM-MIMO FMCW radar: all transmitters send at once, each with its own Doppler offset.

    No field has a default: each number belongs to one radar.

    Attributes:
        samples: number of complex samples of a chirp, and of range bins.
        chirps: number of chirps of a frame, and of Doppler bins.
        rx_per_chip: number of receivers of a chip.
        chip_order: the chips in the order of the antenna axis.
        doppler_slots: number of slots that the Doppler axis is divided into; slot s has an offset of
            ``s * reduced_doppler`` bins.
        slots: the slot of each transmitter. At least one slot is empty, which identifies the first transmitter's.
        range_max: range in metres at bin ``samples``.
        cfar_window: half sizes (range, Doppler) in cells of the window in which the noise is estimated.
        cfar_guard: half sizes of the window's middle, which is left out.
        cfar_threshold_db: a cell is a detection if its power is this many dB above the noise.
        road_elevation: index of the elevation in the calibration table that is parallel to the road.

    Raises:
        ValueError: a value is not possible; the message names the field.
    """

    samples: int
    chirps: int
    rx_per_chip: int
    chip_order: tuple[int, ...]
    doppler_slots: int
    slots: tuple[int, ...]
    range_max: float
    cfar_window: tuple[int, int]
    cfar_guard: tuple[int, int]
    cfar_threshold_db: float
    road_elevation: int

    def __post_init__(self) -> None:
        for name in ("chip_order", "slots", "cfar_window", "cfar_guard"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists
        for name in ("samples", "chirps", "rx_per_chip", "doppler_slots"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, not positive")
        if self.chirps % self.doppler_slots:
            raise ValueError(f"chirps is {self.chirps}, no multiple of doppler_slots = {self.doppler_slots}")
        if sorted(self.chip_order) != list(range(len(self.chip_order))):
            raise ValueError(f"chip_order is {self.chip_order}, no order of 0..{len(self.chip_order) - 1}")
        if len(set(self.slots)) != len(self.slots) or not set(self.slots) < set(range(self.doppler_slots)):
            expected = f"different ones of 0..{self.doppler_slots - 1} that leave one empty"
            raise ValueError(f"slots is {self.slots}, not {expected}")
        if not self.range_max > 0:
            raise ValueError(f"range_max is {self.range_max}, not positive")
        for window, guard in zip(self.cfar_window, self.cfar_guard, strict=True):
            if not 0 <= guard < window:
                raise ValueError(f"cfar_guard is {self.cfar_guard}, not inside cfar_window = {self.cfar_window}")

    @property
    def chips(self) -> int:
        return len(self.chip_order)

    @property
    def receivers(self) -> int:
        """Number of receiving antennas (A)."""
        return self.chips * self.rx_per_chip

    @property
    def transmitters(self) -> int:
        return len(self.slots)

    @property
    def virtual(self) -> int:
        """Number of elements of the virtual array (V); element v = transmitter * receivers + receiver."""
        return self.transmitters * self.receivers

    @property
    def reduced_doppler(self) -> int:
        """Number of Doppler bins that are unambiguous before the first transmitter's slot is known (Q)."""
        return self.chirps // self.doppler_slots

    @property
    def empty_slots(self) -> tuple[int, ...]:
        """The slots that no transmitter uses, relative to the slot of the first transmitter."""
        used = {(slot - self.slots[0]) % self.doppler_slots for slot in self.slots}
        return tuple(slot for slot in range(self.doppler_slots) if slot not in used)

    @property
    def values_per_chip(self) -> int:
        """Number of int16 values that a chip writes for a frame: I and Q of each sample, receiver and chirp."""
        return 2 * self.samples * self.rx_per_chip * self.chirps

    @property
    def cfar_threshold(self) -> float:
        """``cfar_threshold_db`` as a ratio of powers."""
        return float(10.0 ** (self.cfar_threshold_db / 10.0))

    def as_dict(self) -> dict[str, Any]:
        """The fields as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The names of the fields."""
        return tuple(field.name for field in fields(cls))
