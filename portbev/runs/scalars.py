"""``scalars.jsonl``: a row per optimizer step, and the speed that the rows make."""

from __future__ import annotations

import json
import math
import os
from bisect import insort
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from portbev.errors import PortbevError
from portbev.files import finite, parse_json

WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Row:
    """One optimizer step.

    The file holds every float in full; what is not finite is null there and NaN here.

    Attributes:
        step: counted from 1.
        epoch: counted from 0.
        samples: seen so far, by all processes.
        losses: the terms, and ``total``.
        grad_norm: of all gradients, before clipping.
        lr: the scheduled learning rate.
        step_time: seconds of the whole step.
        data_time: seconds of it that it waited for data.
    """

    step: int
    epoch: int
    samples: int
    losses: dict[str, float]
    grad_norm: float
    lr: float
    step_time: float
    data_time: float

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Row:
        """Raises KeyError, TypeError, ValueError or AttributeError when ``values`` are no row."""
        return cls(
            step=int(values["step"]),
            epoch=int(values["epoch"]),
            samples=int(values["samples"]),
            losses={str(term): _float(value) for term, value in values["losses"].items()},
            grad_norm=_float(values["grad_norm"]),
            lr=_float(values["lr"]),
            step_time=_float(values["step_time"]),
            data_time=_float(values["data_time"]),
        )

    def to_json(self) -> str:
        return json.dumps(finite(asdict(self)), allow_nan=False)


def read_scalars(path: Path) -> list[Row]:
    """The rows of a file, by step; none where there is no file.

    A last line that a kill cut off is left out. Of a step that was written twice, the later row counts.

    Raises:
        PortbevError: a line that is not JSON, or no row.
    """
    rows: dict[int, Row] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    cure = "Copy the run directory again, or do without this run"
    for number, line in enumerate(lines, 1):
        try:
            values = parse_json(line)
        except ValueError as error:
            if number == len(lines):
                break
            raise PortbevError(f"line {number} is not valid JSON", where=str(path), cure=cure) from error
        try:
            row = Row.from_json(values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"row {number} is no row of scalars ({type(error).__name__}: {error})"
            raise PortbevError(what, where=str(path), cure=cure) from error
        rows[row.step] = row
    return [rows[step] for step in sorted(rows)]


class ScalarsWriter:
    """Appends rows to a file; each reaches it at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def begin(self, step: int) -> list[Row]:
        """Open the file and cut it after the row of ``step`` (0: start anew); returns the rows that stay.

        Raises:
            PortbevError: the file cannot be written.
        """
        rows = [row for row in read_scalars(self.path) if row.step <= step]
        temporary = self.path.with_name(f".{self.path.name}.part")
        try:
            with open(temporary, "w", encoding="utf-8") as file:
                file.writelines(row.to_json() + "\n" for row in rows)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
            self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise self._cannot_write(error) from error
        return rows

    def append(self, row: Row) -> None:
        """Raises PortbevError when the disk is full."""
        assert self._file is not None, "begin() comes first"
        try:
            self._file.write(row.to_json() + "\n")
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:  # a full disk may show only here
                raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> PortbevError:
        return PortbevError(
            f"cannot write: {error.strerror or error}",
            where=str(self.path),
            cure="Check that the folder is writable and the disk has room, or choose another output with --out",
        )


class Speed:
    """Training speed from step times as they come: the median after the first three steps.

    A step's time is the whole step, waiting for data included; checkpoints and evaluation lie between steps.
    """

    METHOD = (
        "samples of a step over all processes / median step time (data loading included, first 3 steps, "
        "checkpoints and evaluation not)"
    )

    def __init__(self, samples_per_step: int, times: Iterable[float] = ()) -> None:
        self.samples_per_step = samples_per_step
        self._first: list[float] = []
        self._later: list[float] = []  # sorted
        for seconds in times:
            self.add(seconds)

    def add(self, seconds: float) -> None:
        """Count a step that took ``seconds``."""
        if len(self._first) < WARM_UP_STEPS:
            self._first.append(seconds)
        else:
            insort(self._later, seconds)

    @property
    def step_time(self) -> float | None:
        """Median seconds of a step; None before the first."""
        times = self._later or self._first
        return median(times) if times else None

    @property
    def fps(self) -> float | None:
        """Samples per second; None before the first step."""
        middle = self.step_time
        return self.samples_per_step / middle if middle else None


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
