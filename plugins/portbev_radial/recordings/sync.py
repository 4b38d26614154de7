"""Which events of a recording's sensors belong together.

The rule of RADIal's own reader: the frames are those of chip 3; with the sample number F there, chips 0, 2 and 1 must
have the samples F+1, F+2 and F+3; of every other sensor but the GPS it takes the event nearest in time, which must not
be farther than the tolerance. What fails is dropped, and a label's index counts what is left.

An index would come to mean another frame after a damaged log line. So a frame that is dropped only because of a damaged
line keeps its place here, as one that cannot be read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from portbev_radial.recordings.layout import GPS, MASTER, PARTNERS, TOLERANCE
from portbev_radial.recordings.log import Events, Log

_NONE = Events(*(np.empty(0, np.int64),) * 5)


@dataclass(frozen=True)
class Frame:
    """One radar frame and its partners.

    Attributes:
        sample: sample number of the master chip.
        time: its corrected timestamp, microseconds.
        events: position of each sensor's event among those of the sensor.
        fault: why the frame cannot be read though it has an index; empty for a good one.
    """

    sample: int
    time: int
    events: dict[str, int] = field(default_factory=dict)
    fault: str = ""


@dataclass
class Table:
    """The synchronised frames; a label's index is a position in ``frames``. ``dropped``: the others, a line each."""

    frames: list[Frame] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


def synchronise(log: Log, path: Path, tolerance: int = TOLERANCE) -> Table:
    """Put the frames of a log together.

    Args:
        log: the events.
        path: of the log, for messages.
        tolerance: microseconds that a partner may be away.
    """
    table = Table()
    spare = _Spare(log.damaged)
    for position, sample, time, line in _masters(log, spare):
        frame, missing = _partners(log, spare, position, sample, time, tolerance)
        if missing:
            table.dropped.append(f"{path}: radar frame {sample} is left out: {missing}")
        else:
            table.frames.append(replace(frame, fault=_damaged(line)) if line else frame)
    return table


def _damaged(line: int) -> str:
    return f"its line {line} of the log is damaged"


class _Spare:
    """The damaged lines of a log; each may excuse one missing event."""

    def __init__(self, lines: list[int]) -> None:
        self.lines = sorted(lines)

    def take(self, before: int, after: int) -> int:
        """The first line between two lines, taken away; 0 when there is none."""
        for line in self.lines:
            if before < line < after:
                self.lines.remove(line)
                return line
        return 0


def _masters(log: Log, spare: _Spare) -> list[tuple[int, int, int, int]]:
    """(position, sample, time, damaged line or 0) of each frame; position -1 where the master's own line is damaged."""
    events = log.events.get(MASTER, _NONE)
    found = [(i, int(events.sample[i]), int(events.time[i]), 0) for i in range(len(events))]
    if not spare.lines:
        return found
    have = set(events.sample.tolist())
    chips = {name: log.events.get(name, _NONE) for name in PARTNERS}
    wanted = [{int(sample) - step for sample in chips[name].sample} for name, step in PARTNERS.items()]
    for sample in sorted(set.intersection(*wanted) - have):
        line = spare.take(*_lines_around(events, sample))
        if line:
            first = chips["radar_ch0"]
            found.append((-1, sample, int(first.time[np.flatnonzero(first.sample == sample + 1)[0]]), line))
    return sorted(found, key=lambda row: row[1]) if any(row[0] < 0 for row in found) else found


def _partners(log: Log, spare: _Spare, position: int, sample: int, time: int, tolerance: int) -> tuple[Frame, str]:
    """The frame, and why it must be dropped: a partner is missing that no damaged line can account for."""
    chosen, fault = {MASTER: position}, ""
    for name in (*PARTNERS, *sorted(set(log.events) - {MASTER, GPS, *PARTNERS})):
        events = log.events.get(name, _NONE)
        at, missing, wanted = _find(events, name, sample, time, tolerance)
        if not missing:
            chosen[name] = at
            continue
        line = spare.take(*_lines_around(events, wanted, by_time=name not in PARTNERS))
        if not line:
            return Frame(sample, time, chosen), missing
        fault = fault or _damaged(line)
    return Frame(sample, time, chosen, fault), ""


def _find(events: Events, name: str, sample: int, time: int, tolerance: int) -> tuple[int, str, int]:
    """Position of a sensor's event, why there is none (empty when there is), and the sample or time looked for."""
    if name in PARTNERS:
        wanted = sample + PARTNERS[name]
        at = np.flatnonzero(events.sample == wanted)
        return (int(at[0]), "", wanted) if len(at) else (-1, f"{name} has no sample {wanted}", wanted)
    nearest = int(np.abs(events.time - time).argmin())
    away = abs(int(events.time[nearest]) - time)
    if away <= tolerance:
        return nearest, "", time
    far = f"the nearest {name} event is {away / 1000:.1f} ms away, more than {tolerance / 1000:g} ms"
    return -1, far, time


def _lines_around(events: Events, value: int, *, by_time: bool = False) -> tuple[int, int]:
    """The log lines between which a sensor's missing event must have been."""
    column = events.time if by_time else events.sample
    below, above = events.line[column < value], events.line[column > value]
    return int(below.max(initial=0)), int(above.min(initial=1 << 60))
