"""The event log of a recording, ``.rec``.

There is one event per line. Of its fields, separated by blanks and counted from 0, field 1 is the timestamp in
microseconds, 4 the time of issue, 7 the sample number and 10 the sensor. A line of 17 fields also has the byte offset
(13) and the size (16) of the event in the sensor's file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_radial.recordings.layout import DELAYS, SENSORS

Integers = NDArray[np.int64]
_SHORT, _FULL = 11, 17
_UNKNOWN = -1


@dataclass(frozen=True)
class Events:
    """The events of one sensor in the order of the log, each column (n,) int64.

    Attributes:
        time: corrected timestamp: the raw one, shifted by (first time of issue - first timestamp + the sensor's delay).
        sample: the sensor's sample number.
        offset, size: byte offset and size of the event in the sensor's file, -1 if the log does not have them.
        line: line number in the log, from 1.
    """

    time: Integers
    sample: Integers
    offset: Integers
    size: Integers
    line: Integers

    def __len__(self) -> int:
        return len(self.time)


@dataclass
class Log:
    """The content of a log.

    Attributes:
        events: by sensor; a sensor that the log does not name is absent.
        damaged: numbers of the lines that could not be read.
        problems: a line of text for each of them.
    """

    events: dict[str, Events]
    damaged: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def read_log(path: DataPath) -> Log:
    """Read a log. A line that cannot be parsed is left out and noted in the log's ``problems``.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(
            f"cannot read the event log: {error.strerror or error}", where=str(path), cure="Check the data root"
        ) from error
    rows: dict[str, list[tuple[int, ...]]] = {}
    log = Log({})
    for number, line in enumerate(lines, 1):
        tokens = line.split()
        if not tokens:
            continue
        try:
            sensor, row = _parse(tokens, number)
        except ValueError as error:
            log.damaged.append(number)
            log.problems.append(f"{path}:{number}: {error}; the event is left out")
            continue
        if sensor in SENSORS:
            rows.setdefault(sensor, []).append(row)
    for sensor, sensor_rows in rows.items():
        log.events[sensor] = _corrected(sensor, sensor_rows)
    return log


def _parse(tokens: Sequence[str], line: int) -> tuple[str, tuple[int, ...]]:
    """(sensor, (timestamp, time of issue, sample, offset, size, line))."""
    if len(tokens) < _SHORT:
        raise ValueError(f"log line has {len(tokens)} fields, expected {_FULL} (or {_SHORT} without offset and size)")
    fields = (1, 4, 7, 13, 16) if len(tokens) == _FULL else (1, 4, 7)
    numbers = []
    for field_index in fields:
        try:
            numbers.append(int(float(tokens[field_index])) if "." in tokens[field_index] else int(tokens[field_index]))
        except (ValueError, OverflowError):
            raise ValueError(
                f"log line has {tokens[field_index]!r} in field {field_index}, expected a whole number"
            ) from None
    if len(fields) == 5 and min(numbers[3:]) < 0:
        raise ValueError(f"log line has a negative offset or size: {numbers[3]}, {numbers[4]}")
    if not all(abs(number) < 1 << 62 for number in numbers):
        raise ValueError("log line has a number that is out of range")
    if tokens[10] not in SENSORS and any(name.startswith(tokens[10]) for name in SENSORS):
        raise ValueError(f"log line ends within the name of its sensor, {tokens[10]!r}")
    return tokens[10], (*numbers, *([_UNKNOWN] * (5 - len(numbers))), line)


def _corrected(sensor: str, rows: list[tuple[int, ...]]) -> Events:
    """The events of a sensor, with corrected timestamps."""
    time, issue, sample, offset, size, line = np.array(rows, np.int64).T
    return Events(time + (issue[0] - time[0] + DELAYS.get(sensor, 0)), sample, offset, size, line)
