"""Writing a run directory, in the run's main process."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from portbev.runs.layout import RUN, SCALARS
from portbev.runs.record import Evaluation, RunRecord, Status, write_record
from portbev.runs.scalars import Row, ScalarsWriter, Speed
from portbev.runs.seal import seal, unseal


class RunWriter:
    """A run directory that is being written.

    The other processes of a run have one too, so that all know the record; they write nothing.

    Attributes:
        path: the directory.
        record: the content of ``run.json`` as it stands; :meth:`write` brings it to disk.
    """

    def __init__(self, path: Path, record: RunRecord) -> None:
        self.path, self.record = path, record
        self._scalars = ScalarsWriter(path / SCALARS)
        self._speed = Speed(record.samples_per_step)

    def begin(self, step: int) -> None:
        """Make ready for the rows after ``step``; rows of later steps, from before a resume, are removed."""
        unseal(self.path)
        kept = self._scalars.begin(step)
        self._speed = Speed(self.record.samples_per_step, (row.step_time for row in kept))

    def add(self, row: Row) -> None:
        """A step is done."""
        self._scalars.append(row)
        self._speed.add(row.step_time)

    def note_speed(self, *, seconds: float, peak_memory: int) -> None:
        """Bring the record's figures of training up to date.

        Args:
            seconds: time of all steps.
            peak_memory: bytes.
        """
        training = self.record.training
        training.fps, training.step_time_median = self._speed.fps, self._speed.step_time
        training.method = Speed.METHOD
        training.seconds, training.peak_memory = seconds, peak_memory

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Keep an evaluation; one of the same step, from before a resume, makes room for it."""
        others = [earlier for earlier in self.record.evaluations if earlier.step != evaluation.step]
        self.record.evaluations = [*others, evaluation]

    def warn(self, text: str) -> None:
        """Keep a warning, once."""
        if text not in self.record.warnings:
            self.record.warnings.append(text)

    def end(self, status: Status, error: str | None = None) -> None:
        """Record how the run ended, and write that; a finished one is sealed."""
        self.record.status, self.record.finished, self.record.error = status, now(), error
        self.write()
        if status == "finished":
            seal(self.path)

    def write(self) -> None:
        """Write ``run.json``."""
        write_record(self.record, self.path / RUN)

    def close(self) -> None:
        """Close the scalars."""
        self._scalars.close()


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
