"""Tiny generated recordings, and handwritten logs, that the tests of RADIal's data share."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from portbev_radial.recordings.layout import log_file
from portbev_radial.synth import RadialSynthOptions

TINY = RadialSynthOptions(
    sequences=3,
    frames=3,
    seed=5,
    samples=32,
    chirps=32,
    azimuths=31,
    elevations=6,
    image_size=(96, 64),
    oversample=2,
    density=1.5,
)
"""One sequence each of train (samples 0-2), val (3-5) and test (6-8)."""
TRAIN, VAL, TEST = "RECORD@2020-01-01_10.00.00", "RECORD@2020-11-22_12.49.56", "RECORD@2020-11-22_12.45.05"


@dataclass(frozen=True)
class Event:
    """A line of a handwritten log; without offset it has 11 tokens."""

    time: int
    sensor: str
    sample: int
    offset: int | None = 0
    size: int = 8
    issue: int | None = None

    def line(self) -> str:
        issue = self.time if self.issue is None else self.issue
        text = f"timestamp: {self.time} - timeofissue: {issue} - sample: {self.sample} - sensor: {self.sensor}"
        return text if self.offset is None else f"{text} - offset: {self.offset} - size: {self.size}"


def radar_frame(time: int, first: int, *, without: tuple[str, ...] = ()) -> list[Event]:
    """The four chips' events of one frame, issued so late that their correction cancels."""
    chips = {"radar_ch3": 0, "radar_ch0": 1, "radar_ch2": 2, "radar_ch1": 3}
    return [
        Event(time, name, first + step, issue=time + 180_000) for name, step in chips.items() if name not in without
    ]


def write_log(folder: Path, lines: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    log_file(folder).write_text("\n".join(lines) + "\n")
    return log_file(folder)


def copy_of(root: Path, target: Path) -> Path:
    return Path(shutil.copytree(root, target))


def contents(root: Path) -> dict[str, str]:
    """Path and checksum of every file."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def replace_lines(path: Path, change: dict[int, str | None]) -> None:
    """Replace lines of a text file, counted from 1; None drops one."""
    lines = path.read_text().splitlines()
    kept = [change.get(number, line) for number, line in enumerate(lines, 1)]
    path.write_text("\n".join(line for line in kept if line is not None) + "\n")


def line_of(log: Path, sensor: str, nth: int) -> int:
    """Number of the line of a sensor's nth event."""
    found = [number for number, line in enumerate(log.read_text().splitlines(), 1) if f"sensor: {sensor} " in line]
    return found[nth]
