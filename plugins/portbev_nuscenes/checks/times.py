"""Times of key frames: their unit and their distance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.paths import DataPath
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.tables.index import Index

SHORTEST, LONGEST = 2e-3, 100.0
"""Key frames nearer together or farther apart than this many seconds cannot be meant."""

OFF = 2.0
"""A key frame of a sensor farther than this many seconds from its sample has another clock."""

UNITS = {"seconds": 1e6, "milliseconds": 1e3, "nanoseconds": 1e-3}
"""Unit -> microseconds in it."""

_USUAL = 0.5  # seconds between key frames
_THIS_CENTURY = (9.4e14, 4.1e15)  # microseconds since 1970: the years 2000 to 2100


def interval(index: Index, samples: NDArray[np.int64]) -> float | None:
    """Median time [s] between neighbouring key frames of a scene; None where no scene has two."""
    rows = np.unique(samples)
    follows = (np.diff(rows) == 1) & (np.diff(index.sample_scene[rows]) == 0)
    steps = np.diff(index.sample_time[rows])[follows]
    return float(np.median(steps)) * 1e-6 if len(steps) else None


def wrong_unit(index: Index, samples: NDArray[np.int64], folder: DataPath) -> list[Problem]:
    """The problem that timestamps are not in microseconds; names the likely unit."""
    apart = interval(index, samples)
    if apart is None:
        return []
    where, time = str(folder / "sample.json"), float(np.median(index.sample_time[samples]))
    if apart != 0 and SHORTEST <= apart <= LONGEST and not _is_of_other_unit(apart, time):
        return []
    if apart == 0:
        return [Problem(where, "most key frames have the time of the one before them", "Give each its own time")]
    what = f"key frames are {apart:.3g} s apart (median): timestamps must be microseconds"
    unit = _likely(apart, time)
    if not unit:
        return [Problem(where, what, "Give the time of each key frame in microseconds")]
    factor = UNITS[unit]
    how = f"Multiply them by {factor:.0f}" if factor > 1 else f"Divide them by {1 / factor:.0f}"
    return [Problem(where, what, f"They look like {unit}. {how} in sample, sample_data and ego_pose")]


def other_clock(index: Index, samples: NDArray[np.int64], column: int, folder: DataPath) -> list[Problem]:
    """The problem that key frames have other times than their samples; the ego's motion is derived from them."""
    frames = index.key_frames[samples, column]
    apart = np.abs(index.frame_time[frames] - index.sample_time[samples]) * 1e-6
    off = float(np.median(apart)) if len(apart) else 0.0
    if off <= OFF:
        return []
    what = f"{index.channels[column].decode()} key frames are {off:.3g} s off the time of their samples (median)"
    return [Problem(str(folder / "sample_data.json"), what, "Give both in microseconds since the same start")]


def _is_of_other_unit(apart: float, time: float) -> bool:
    """Whether an unusual distance [s] comes with times that are of this century in another unit alone."""
    low, high = _THIS_CENTURY
    return not 0.02 <= apart <= 20 and any(low <= time * factor <= high for factor in UNITS.values())


def _likely(apart: float, time: float) -> str:
    """The unit that timestamps with this median distance [s] and median value were written in; empty if none fits."""
    for unit, factor in UNITS.items():
        if _THIS_CENTURY[0] <= time * factor <= _THIS_CENTURY[1]:
            return unit
    fits = {unit: abs(np.log(apart * factor / _USUAL)) for unit, factor in UNITS.items()}
    unit = min(fits, key=lambda name: fits[name])
    return unit if fits[unit] < np.log(40) else ""
