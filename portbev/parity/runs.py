"""The runs of a report: checked, and named so that an emulated device is always said.

Run directories are read by :mod:`portbev.runs.record`, which writes them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbev.errors import PortbevError
from portbev.evaluate.benchmark import METRICS, METRICS_SCHEMA
from portbev.runs.record import RUN, SCALARS, load_run

_SECTIONS = {
    "status": str,
    "config": dict,
    "model": dict,
    "backend": dict,
    "environment": dict,
    "kernels": dict,
    "data": dict,
    "progress": dict,
    "training": dict,
}


@dataclass(frozen=True)
class Scalars:
    """One row of ``scalars.jsonl``: an optimizer step."""

    step: int
    samples: int | None
    losses: dict[str, float]


@dataclass(frozen=True)
class Run:
    """A run directory's content.

    Attributes:
        label: the directory's name, with ``(emulated)`` behind it where the device was emulated.
        meta: ``run.json``.
        scalars: rows of ``scalars.jsonl``, one per step, ascending.
        metrics: ``metrics.json``, or None when the run was never evaluated.
        notes: what was unusual about the files.
    """

    label: str
    path: Path
    meta: dict[str, Any]
    scalars: list[Scalars]
    metrics: dict[str, Any] | None
    notes: list[str] = field(default_factory=list)

    @property
    def emulated(self) -> bool:
        return bool(self.meta["backend"].get("emulated"))

    @property
    def finished(self) -> bool:
        return self.meta["status"] == "finished"

    @property
    def benchmark(self) -> str:
        """Who has scored the run, or will; nuScenes where an older record does not say."""
        return str((self.metrics or {}).get("benchmark") or self.get("data", "benchmark") or "nuscenes")

    def get(self, *keys: str) -> Any:
        """Value at ``keys`` of ``run.json``; None where it is absent."""
        return _dig(self.meta, keys)

    def metric(self, *keys: str) -> float | None:
        """Number at ``keys`` of ``metrics.json``; None where it is absent or not finite."""
        return _number(_dig(self.metrics or {}, keys))

    def number(self, *keys: str) -> float | None:
        """Number at ``keys`` of ``run.json``; None where it is absent or not finite."""
        return _number(_dig(self.meta, keys))


def load_runs(paths: Sequence[Path | str]) -> list[Run]:
    """Runs in the order given, each under a label of its own.

    Raises:
        PortbevError: a path is no run directory, a file is damaged or of another schema, a run is named twice.
    """
    folders = [Path(path) for path in paths]
    twice = [path for path, times in Counter(folder.resolve() for folder in folders).items() if times > 1]
    if twice:
        raise PortbevError("the run is named twice", where=str(twice[0]), cure="Name each run once")
    return [_load(folder, name) for folder, name in zip(folders, _short_names(folders), strict=True)]


def _load(folder: Path, name: str) -> Run:
    record = load_run(folder)
    meta, metrics = record.info, record.metrics
    for section, kind in _SECTIONS.items():
        if not isinstance(meta.get(section), kind):
            what = f"section {section!r} is missing or of another type"
            raise PortbevError(what, where=str(folder / RUN), cure="The run's record is damaged; leave this run out")
    if metrics is not None and metrics.get("schema") != METRICS_SCHEMA:
        what = f"schema is {metrics.get('schema')!r}, this version reads {METRICS_SCHEMA!r}"
        raise PortbevError(what, where=str(folder / METRICS), cure="Use the version of portbev that wrote it")
    scalars = _rows(record.scalars(), folder / SCALARS)
    label = f"{name} (emulated)" if meta["backend"].get("emulated") else name
    return Run(label, folder, meta, scalars, metrics, _notes(scalars, meta["progress"].get("step")))


def _rows(rows: list[dict[str, Any]], path: Path) -> list[Scalars]:
    """By step; where a step was written twice (killed and resumed), the later row counts."""
    found: dict[int, Scalars] = {}
    for number, row in enumerate(rows, 1):
        try:
            read = _scalars_row(row)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            what = f"row {number} is no row of scalars ({type(error).__name__}: {error})"
            raise PortbevError(
                what, where=str(path), cure="Copy the run directory again, or leave this run out"
            ) from error
        found[read.step] = read
    return [found[step] for step in sorted(found)]


def _notes(scalars: list[Scalars], steps: Any) -> list[str]:
    if not scalars:
        return ["has no scalars: no loss curves"]
    if isinstance(steps, int) and len(scalars) != steps:
        return [f"scalars.jsonl has {len(scalars)} rows, the run records {steps} steps"]
    return []


def _scalars_row(row: dict[str, Any]) -> Scalars:
    losses = {name: math.nan if value is None else float(value) for name, value in row["losses"].items()}
    samples = row.get("samples")
    return Scalars(int(row["step"]), None if samples is None else int(samples), losses)


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


def _dig(value: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _number(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
