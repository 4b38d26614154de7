"""Group the events of a recording's sensors into frames.

The rule is that of RADIal's own reader. Each event of chip 3 is a frame. If its sample number is F, chips 0, 2 and 1
must have events with the numbers F+1, F+2 and F+3. Of every other sensor except the GPS the event nearest in time is
taken, which must be within the tolerance. Frames without all of these are dropped, and the index of a label is an
index into the remaining frames: a frame that is dropped here and was not dropped where the labels were made shifts all
later labels.

A damaged line of the log would drop a frame and shift the indices of all later ones. So a frame that lacks an event
only because of a damaged line keeps its index, but cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from portbev.paths import DataPath
from portbev_radial.recordings.layout import GPS, MASTER, PARTNERS, TOLERANCE
from portbev_radial.recordings.log import Events, Log

_NONE = Events(*(np.empty(0, np.int64),) * 5)


@dataclass(frozen=True)
class Frame:
    """One radar frame and the events of the other sensors that belong to it (its partners).

    Attributes:
        sample: sample number of the master chip.
        time: its corrected timestamp, microseconds.
        events: sensor -> index of its event among the events of that sensor.
        fault: the reason why the frame cannot be read; empty if it can.
    """

    sample: int
    time: int
    events: dict[str, int] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Dropped:
    """A radar frame that was dropped.

    Attributes:
        line: says so.
        sensor: the one whose event is missing.
        place: number of frames that were kept before it.
        offset: microseconds to the sensor's nearest event; 0 if none was looked for in time.
    """

    line: str
    sensor: str
    place: int
    offset: int = 0

    @property
    def moves_labels(self) -> bool:
        """Whether later labels may mean other frames: recordings begin with a frame without the other chips."""
        return self.place > 0 or self.offset > 0

    def __str__(self) -> str:
        return self.line


@dataclass
class Table:
    """The synchronised frames, into which labels index, and the radar frames that were dropped."""

    frames: list[Frame] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def synchronise(log: Log, path: DataPath, tolerance: int = TOLERANCE) -> Table:
    """Group the events of a log into frames.

    Args:
        log: the events.
        path: path of the log, for messages.
        tolerance: largest time difference between a radar frame and a partner, microseconds.
    """
    table = Table()
    damaged_lines = _DamagedLines(log.damaged)
    for position, sample, time, line in _masters(log, damaged_lines):
        frame, missing = _partners(log, damaged_lines, position, sample, time, tolerance)
        if missing:
            text = f"{path}: radar frame {sample} is left out: {missing.reason}"
            table.dropped.append(Dropped(text, missing.sensor, len(table.frames), missing.offset))
        else:
            table.frames.append(replace(frame, fault=_damaged(line)) if line else frame)
    return table


@dataclass(frozen=True)
class _Missing:
    """An event that was not found: why, and microseconds to the nearest one if it was looked for in time."""

    sensor: str
    reason: str
    offset: int = 0


def _damaged(line: int) -> str:
    return f"its line {line} of the log is damaged"


class _DamagedLines:
    """The damaged lines of a log; each can account for one missing event."""

    def __init__(self, lines: list[int]) -> None:
        self.lines = sorted(lines)

    def take(self, before: int, after: int) -> int:
        """Remove and return the first damaged line between two lines; 0 if there is none."""
        for line in self.lines:
            if before < line < after:
                self.lines.remove(line)
                return line
        return 0


def _masters(log: Log, damaged_lines: _DamagedLines) -> list[tuple[int, int, int, int]]:
    """Index, sample number, time and damaged line (or 0) of the master event of each frame.

    The index is -1 where the line of the master event is damaged; the event is then inferred from the other chips.
    """
    events = log.events.get(MASTER, _NONE)
    masters = [(i, int(events.sample[i]), int(events.time[i]), 0) for i in range(len(events))]
    if not damaged_lines.lines:
        return masters
    samples = set(events.sample.tolist())
    chips = {name: log.events.get(name, _NONE) for name in PARTNERS}
    expected = [{int(sample) - offset for sample in chips[name].sample} for name, offset in PARTNERS.items()]
    for sample in sorted(set.intersection(*expected) - samples):
        line = damaged_lines.take(*_lines_around(events, sample))
        if line:
            first = chips["radar_ch0"]
            masters.append((-1, sample, int(first.time[np.flatnonzero(first.sample == sample + 1)[0]]), line))
    return sorted(masters, key=lambda row: row[1]) if any(row[0] < 0 for row in masters) else masters


def _partners(
    log: Log, damaged_lines: _DamagedLines, position: int, sample: int, time: int, tolerance: int
) -> tuple[Frame, _Missing | None]:
    """The frame with its partners, and what it lacks, if that is not because of a damaged line."""
    chosen, fault = {MASTER: position}, ""
    for name in (*PARTNERS, *sorted(set(log.events) - {MASTER, GPS, *PARTNERS})):
        events = log.events.get(name, _NONE)
        index, missing, target = _find(events, name, sample, time, tolerance)
        if missing is None:
            chosen[name] = index
            continue
        line = damaged_lines.take(*_lines_around(events, target, by_time=name not in PARTNERS))
        if not line:
            return Frame(sample, time, chosen), missing
        fault = fault or _damaged(line)
    return Frame(sample, time, chosen, fault), None


def _find(events: Events, name: str, sample: int, time: int, tolerance: int) -> tuple[int, _Missing | None, int]:
    """Index of a sensor's event, what is missing if there is none, and the sample number or time searched for."""
    if name in PARTNERS:
        target = sample + PARTNERS[name]
        matches = np.flatnonzero(events.sample == target)
        if len(matches):
            return int(matches[0]), None, target
        return -1, _Missing(name, f"{name} has no sample {target}"), target
    nearest = int(np.abs(events.time - time).argmin())
    difference = abs(int(events.time[nearest]) - time)
    if difference <= tolerance:
        return nearest, None, time
    reason = f"the nearest {name} event is {difference / 1000:.1f} ms away, more than {tolerance / 1000:g} ms"
    return -1, _Missing(name, reason, difference), time


def _lines_around(events: Events, value: int, *, by_time: bool = False) -> tuple[int, int]:
    """The two log lines between which the missing event of a sensor must be."""
    column = events.time if by_time else events.sample
    below, above = events.line[column < value], events.line[column > value]
    return int(below.max(initial=0)), int(above.min(initial=1 << 60))
