"""A run directory, read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from portbev import lists
from portbev.config import RunConfig, load_config
from portbev.errors import PortbevError
from portbev.runs.layout import CHECKPOINTS, METRICS, PREDICTIONS, RUN, SCALARS, runs_below
from portbev.runs.metrics import Metrics, read_metrics
from portbev.runs.record import RunRecord, Status, read_record
from portbev.runs.scalars import Row, read_scalars

if TYPE_CHECKING:
    from portbev.runs.checkpoints import Checkpoints

"""Runs that are named, where another may be meant."""


@dataclass(frozen=True)
class Run:
    """A run directory: what ``portbev train`` wrote, and all that others need to know of the run.

    Attributes:
        path: the directory.
        record: ``run.json``.
    """

    path: Path
    record: RunRecord

    @property
    def status(self) -> Status:
        """``running``, ``finished``, ``failed`` or ``interrupted``."""
        return self.record.status

    @property
    def benchmark(self) -> str:
        """The name of the benchmark that scores the run."""
        return self.record.data.benchmark

    @property
    def config(self) -> RunConfig:
        """The configuration; takes the plugins of its model and its data."""
        return load_config(self.record.config)

    @property
    def metrics(self) -> Metrics | None:
        """``metrics.json`` of the final evaluation; None before it."""
        path = self.path / METRICS
        return read_metrics(path) if path.is_file() else None

    @property
    def predictions(self) -> Path:
        """The detections of the final evaluation, in the format of its benchmark."""
        return self.path / PREDICTIONS

    @property
    def checkpoints(self) -> Checkpoints:
        """The folder of checkpoints."""
        from portbev.runs.checkpoints import Checkpoints  # takes torch, which a report does without

        return Checkpoints(self.path / CHECKPOINTS)

    def scalars(self) -> list[Row]:
        """A row per optimizer step."""
        return read_scalars(self.path / SCALARS)


def runs_near(path: Path) -> str:
    """Which run may be meant by ``path``, which is none."""
    inside = runs_below(path)
    near = inside or runs_below(path.parent, deep=False)
    if not near:
        return "Name a directory written by: portbev train --out DIR"
    return f"Runs {'in it' if inside else 'beside it'}: {lists.cut([str(run) for run in near])}"


def load_run(path: Path | str) -> Run:
    """Read a run directory.

    Raises:
        PortbevError: it is none, or its record is damaged or of another version.
    """
    path = Path(path)
    if not (path / RUN).is_file():
        what = "not a run directory: it has no run.json" if path.is_dir() else "no such run directory"
        raise PortbevError(what, where=str(path), cure=runs_near(path))
    return Run(path, read_record(path / RUN))
