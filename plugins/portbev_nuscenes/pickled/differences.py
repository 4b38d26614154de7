"""Values beside those that the tables say, gathered by field: how many samples differ, which, and how far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.nn.names import tensor_of
from portbev.tensorfiles.standins import StandIn
from portbev_nuscenes.checks.problem import Problem

SHOWN = 3
"""Samples of a field that get a line each; one more line tells of the rest."""
METRES, SECONDS, PIXELS = 1e-3, 1e-5, 1e-2
"""Differences that float32 numbers may have."""
_CURE = "Make the infos anew from these tables, or give the version that they were made of"


@dataclass
class Differences:
    """What a file says otherwise than the tables.

    Attributes:
        where: the file.
        found: field -> (token, what, size of the difference) of each sample.
    """

    where: str
    found: dict[str, list[tuple[str, str, float]]] = field(default_factory=dict)

    def add(self, token: str, name: str, what: str, size: float = 0.0) -> None:
        """``what``: how the field ``name`` of the sample ``token`` differs."""
        self.found.setdefault(name, []).append((token, what, size))

    def distance(self, token: str, name: str, value: Any, expected: Any, tolerance: float, unit: str) -> None:
        """Compare numbers of any shape, by the largest difference of one."""
        numbers, wanted = numbers_of(value), np.asarray(expected, np.float64)
        if numbers is None or numbers.shape != wanted.shape:
            self.add(token, name, _shapes(value, numbers, wanted))
            return
        both = np.isfinite(numbers) | np.isfinite(wanted)
        with np.errstate(invalid="ignore"):
            gap = np.where(both, np.abs(numbers - wanted), 0.0)
        farthest = float(np.max(np.nan_to_num(gap, nan=np.inf), initial=0.0))
        if farthest > tolerance:
            self.add(token, name, f"is {farthest:.4g} {unit} off", farthest)

    def metres(self, token: str, name: str, value: Any, expected: Any) -> None:
        """Compare places."""
        self.distance(token, name, value, expected, METRES, "m")

    def pixels(self, token: str, name: str, value: Any, expected: Any) -> None:
        """Compare intrinsics."""
        self.distance(token, name, value, expected, PIXELS, "pixels")

    def microseconds(self, token: str, name: str, value: Any, expected: float) -> None:
        """Compare times in microseconds."""
        numbers = numbers_of(value)
        seconds = value if numbers is None else (numbers * 1e-6).tolist()
        self.distance(token, name, seconds, expected * 1e-6, SECONDS, "s")

    def angle(self, token: str, name: str, value: Any, expected: Any, tolerance: float = 1e-4) -> None:
        """Compare rotations, as quaternions (w, x, y, z) or matrices (3, 3), by the angle between them [degrees]."""
        numbers, wanted = numbers_of(value), np.asarray(expected, np.float64)
        if numbers is None or numbers.shape != wanted.shape:
            self.add(token, name, _shapes(value, numbers, wanted))
            return
        if wanted.shape == (4,):
            length = float(np.linalg.norm(numbers))
            unit, other = numbers / length if length else numbers, wanted / np.linalg.norm(wanted)
            chord = min(float(np.linalg.norm(unit - other)), float(np.linalg.norm(unit + other)))
            turned = np.degrees(4 * np.arcsin(min(chord / 2, 1.0)))
        else:
            chord = float(np.linalg.norm(numbers - wanted)) / np.sqrt(8)
            turned = np.degrees(2 * np.arcsin(min(chord, 1.0)))
        if not turned <= tolerance:
            self.add(token, name, f"is turned by {turned:.4g} degrees", float(turned))

    def equal(self, token: str, name: str, value: Any, expected: Any) -> None:
        """Compare names or lists of names."""
        if value != expected:
            self.add(token, name, f"is {_short(value)}, the tables say {_short(expected)}")

    def file(self, token: str, name: str, value: Any, expected: str) -> None:
        """Compare a path by as many of its last parts as both have: the root may be another."""
        mine, theirs = Path(expected).parts, Path(str(value)).parts
        count = min(len(mine), len(theirs))
        if not isinstance(value, str) or not count or mine[-count:] != theirs[-count:]:
            self.add(token, name, f"is {_short(value)}, the tables say {expected}")

    def problems(self) -> Iterator[Problem]:
        """A line for each of the first samples of a field, and one for the rest."""
        for name, entries in self.found.items():
            for token, what, _ in entries[:SHOWN]:
                yield Problem(self.where, f"sample {token}: {name} {what}", _CURE)
            if rest := entries[SHOWN:]:
                token, what, size = max(rest, key=lambda entry: entry[2])
                most = f", the most in sample {token}, where it {what}" if size else ""
                yield Problem(self.where, f"{name} differs in {len(rest)} more samples{most}", _CURE)


def numbers_of(value: Any) -> NDArray[np.float64] | None:
    """A number, nested lists of numbers, an array, a tensor or a pyquaternion's four numbers; None for all else."""
    if isinstance(value, StandIn):
        state = value.state if isinstance(value.state, dict) else {}
        value = state.get("q") if value.kind.endswith("Quaternion") else None
    tensor = tensor_of(value)
    if tensor is not None:
        made: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
        return made
    try:
        return np.asarray(value, np.float64) if isinstance(value, (int, float, list, tuple)) else None
    except (TypeError, ValueError):
        return None


def _shapes(value: Any, numbers: NDArray[Any] | None, wanted: NDArray[Any]) -> str:
    if value is None:
        return "is missing"
    if numbers is None:
        return f"holds no numbers ({_short(value)})"
    return f"has the shape {numbers.shape}, not {wanted.shape}"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
