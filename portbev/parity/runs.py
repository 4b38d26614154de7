"""The runs of a report, named so that an emulated device is always said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from portbev.errors import PortbevError
from portbev.runs import Run, load_run
from portbev.runs.layout import RUN
from portbev.runs.metrics import Metrics
from portbev.runs.record import RunRecord
from portbev.runs.scalars import Row
from portbev.runs.seal import check_seal, digests

EMULATED = "(emulated)"
"""Behind every name of a run, side or device that was emulated."""


@dataclass(frozen=True)
class LabelledRun:
    """A run under the name that the report gives it. Its files are read once.

    Attributes:
        label: the directory's name, with ``(emulated)`` behind it where the device was emulated.
    """

    label: str
    run: Run

    @property
    def path(self) -> Path:
        return self.run.path

    @property
    def record(self) -> RunRecord:
        return self.run.record

    @property
    def device(self) -> str:
        """The device's name, which says where it was emulated."""
        name, emulated = self.record.backend.device_name, self.record.backend.emulated
        return f"{name} {EMULATED}" if emulated and "emulated" not in name.lower() else name

    @property
    def finished(self) -> bool:
        return self.record.status == "finished"

    @cached_property
    def scalars(self) -> list[Row]:
        """A row per optimizer step."""
        return self.run.scalars()

    @cached_property
    def metrics(self) -> Metrics | None:
        """Of the final evaluation; None when there was none."""
        return self.run.metrics

    @cached_property
    def digests(self) -> dict[str, str]:
        """Name -> SHA-256 of the files that were read."""
        return digests(self.path)

    @property
    def oddities(self) -> list[str]:
        """What is unusual about the scalars."""
        rows, steps = len(self.scalars), self.record.progress.step
        if not rows:
            return ["has no scalars: no loss curves"]
        return [f"scalars.jsonl has {rows} rows, the run records {steps} steps"] if rows != steps else []


def load_runs(paths: Sequence[Path | str]) -> list[LabelledRun]:
    """Runs in the order given, each under a label of its own.

    Raises:
        PortbevError: a path is no run directory, a file is damaged or of another schema, a run is named twice.
    """
    folders = [Path(path) for path in paths]
    twice = [path for path, times in Counter(folder.resolve() for folder in folders).items() if times > 1]
    if twice:
        raise PortbevError("the run is named twice", where=str(twice[0]), cure="Name each run once")
    return [_load(folder, name) for folder, name in zip(folders, _short_names(folders), strict=True)]


def _load(folder: Path, name: str) -> LabelledRun:
    run = load_run(folder)
    _check_emulation(run)
    labelled = LabelledRun(f"{name} {EMULATED}" if run.record.backend.emulated else name, run)
    _ = labelled.scalars, labelled.metrics  # what is damaged is told now
    check_seal(folder, labelled.digests)
    return labelled


def _check_emulation(run: Run) -> None:
    """Raises PortbevError: the record says that the device is real, and elsewhere that it was emulated."""
    backend, environment = run.record.backend, run.record.environment
    said = [backend.label, backend.device_name, *(str(value) for value in environment.values())]
    marked = next((text for text in said if "emulated" in text.lower()), None)
    if marked is not None and not backend.emulated:
        raise PortbevError(
            f"says emulated: false, and yet {marked!r}",
            where=str(run.path / RUN),
            cure="A run on an emulated device cannot be shown as the device's; copy the run directory again",
        )


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Directory names; where two are equal, with as many parents as it takes to tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    names = [part[-1] for part in parts]
    depth = 1
    while len(set(names)) < len(names) and depth < max(map(len, parts)):
        depth += 1
        doubled = {name for name, times in Counter(names).items() if times > 1}
        names = ["/".join(p[-depth:]) if n in doubled else n for n, p in zip(names, parts, strict=True)]
    return names
