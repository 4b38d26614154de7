"""The run directory: its record, its scalars, and reading them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from portbev.config import RunConfig, load_config
from portbev.errors import PortbevError
from portbev.evaluate.benchmark import METRICS, PREDICTIONS
from portbev.files import finite, write_json
from portbev.runs.checkpoint import Checkpoints

RUN_SCHEMA = "portbev.run/1"
WARM_UP_STEPS = 3
RUN, SCALARS = "run.json", "scalars.jsonl"


@dataclass(frozen=True)
class Run:
    """A run directory, read.

    Attributes:
        path: the directory.
        info: ``run.json``.
    """

    path: Path
    info: dict[str, Any]

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed`` or ``interrupted``."""
        return str(self.info["status"])

    @property
    def config(self) -> RunConfig:
        """The resolved configuration."""
        return load_config(self.info["config"])

    @property
    def metrics(self) -> dict[str, Any] | None:
        """``metrics.json``; None before the evaluation."""
        return _read_json(self.path / METRICS) if (self.path / METRICS).is_file() else None

    @property
    def predictions(self) -> Path:
        """The detections of the final evaluation, in the format of its benchmark."""
        return self.path / PREDICTIONS

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.path / "checkpoints")

    def scalars(self) -> list[dict[str, Any]]:
        """Rows of ``scalars.jsonl``: one per optimizer step."""
        return read_scalars(self.path / SCALARS)


def load_run(path: Path | str) -> Run:
    """Read a run directory.

    Raises:
        PortbevError: it is none, or its record is damaged or of another version.
    """
    path = Path(path)
    if not (path / RUN).is_file():
        what = "not a run directory: it has no run.json" if path.is_dir() else "no such run directory"
        raise PortbevError(what, where=str(path), cure="Name a directory written by: portbev train --out DIR")
    info = _read_json(path / RUN)
    if info.get("schema") != RUN_SCHEMA:
        what = f"schema is {info.get('schema')!r}, this version reads {RUN_SCHEMA!r}"
        raise PortbevError(what, where=str(path / RUN), cure="Use the version of portbev that wrote it")
    return Run(path, info)


def read_scalars(path: Path) -> list[dict[str, Any]]:
    """Rows of a scalars file; a last line that a kill cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise PortbevError(f"line {number} is not valid JSON", where=str(path)) from error
    return rows


class Recorder:
    """Writer of a run directory, in the run's main process.

    ``info`` is the content of ``run.json``; change it and call :meth:`write`.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info
        self._scalars: Any = None

    def write(self) -> None:
        """Write ``run.json``."""
        write_json(self.path / RUN, finite(self.info))

    def warn(self, text: str) -> None:
        """Keep a warning in the record, once."""
        if text not in self.info["warnings"]:
            self.info["warnings"].append(text)

    def begin_scalars(self, step: int) -> None:
        """Open ``scalars.jsonl`` and cut it after the row of ``step``; 0 starts a new file."""
        path = self.path / SCALARS
        rows = [row for row in read_scalars(path) if row["step"] <= step]
        try:
            temporary = path.with_name(f".{path.name}.part")
            with open(temporary, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            self._scalars = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise cannot_write(path, error) from error

    def scalar(self, row: Mapping[str, Any]) -> None:
        """Append a row; it reaches the file at once."""
        try:
            self._scalars.write(json.dumps(finite(row), allow_nan=False) + "\n")
            self._scalars.flush()
        except OSError as error:
            raise cannot_write(self.path / SCALARS, error) from error

    def close(self) -> None:
        if self._scalars is not None:
            scalars, self._scalars = self._scalars, None
            try:
                scalars.close()
            except OSError as error:  # a full disk may show only here
                raise cannot_write(self.path / SCALARS, error) from error


def cannot_write(path: Path, error: OSError) -> PortbevError:
    """The error of a full or read-only output."""
    return PortbevError(
        f"cannot write: {error.strerror or error}",
        where=str(path),
        cure="Check that the folder is writable and the disk has room, or choose another output with --out",
    )


def throughput(rows: Iterable[Mapping[str, Any]], samples_per_step: int) -> dict[str, Any]:
    """Training speed from the rows of ``scalars.jsonl``: medians over the steps after the first three.

    ``step_time`` is a whole step, waiting for data included; checkpoints and evaluation lie between steps.
    """
    times = [row["step_time"] for row in rows]
    warm = times[WARM_UP_STEPS:] or times
    middle = median(warm) if warm else None
    return {
        "fps": samples_per_step / middle if middle else None,
        "step_time_median": middle,
        "method": "samples of a step over all processes / median step time (data loading included, first 3 steps, "
        "checkpoints and evaluation not)",
    }


def merge_ledgers(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two ledger snapshots (see :class:`portbev.kernels.Ledger`) as one: counts add up."""
    merged: dict[str, Any] = json.loads(json.dumps(first))
    for operator, page in second.items():
        into = merged.setdefault(operator, {"forward": {}, "backward": {}, "passed_over": []})
        for direction in ("forward", "backward"):
            for provider, calls in page[direction].items():
                into[direction][provider] = into[direction].get(provider, 0) + calls
        for passed in page["passed_over"]:
            same = (
                p for p in into["passed_over"] if (p["provider"], p["reason"]) == (passed["provider"], passed["reason"])
            )
            known = next(same, None)
            if known is None:
                into["passed_over"].append(dict(passed))
            else:
                known["times"] += passed["times"]
    return merged


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PortbevError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise PortbevError("holds no JSON object", where=str(path))
    return content
