"""The runs of a report: read, checked, and named so that an emulated device is always said. May import: errors.

A run directory is what ``portbev train`` writes: ``run.json``, ``scalars.jsonl``, ``metrics.json``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbev.errors import PortbevError

RUN_SCHEMA = "portbev.run/1"
METRICS_SCHEMA = "portbev.metrics/1"
_SECTIONS = {
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
    if not (folder / "run.json").is_file():
        what = "not a run directory: it has no run.json" if folder.is_dir() else "no such run directory"
        raise PortbevError(what, where=str(folder), cure="Name a directory written by: portbev train --out DIR")
    meta = _read_object(folder / "run.json", RUN_SCHEMA)
    for section, kind in _SECTIONS.items():
        if not isinstance(meta.get(section), kind):
            what = f"section {section!r} is missing or no mapping"
            raise PortbevError(what, where=str(folder / "run.json"), cure="The run's record is damaged; train again")
    if not isinstance(meta.get("status"), str):
        raise PortbevError("key 'status' is missing", where=str(folder / "run.json"))
    notes: list[str] = []
    scalars = _read_scalars(folder / "scalars.jsonl", lenient=meta["status"] != "finished", notes=notes)
    metrics = None
    if (folder / "metrics.json").is_file():
        metrics = _read_object(folder / "metrics.json", METRICS_SCHEMA)
    label = f"{name} (emulated)" if meta["backend"].get("emulated") else name
    return Run(label, folder, meta, scalars, metrics, notes)


def _read_object(path: Path, schema: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PortbevError(f"cannot be read: {error}", where=str(path)) from error
    except json.JSONDecodeError as error:
        what = f"not valid JSON (line {error.lineno}, column {error.colno}: {error.msg}); is it cut off?"
        raise PortbevError(what, where=str(path), cure="Copy the run directory again, or leave this run out") from error
    if not isinstance(content, dict) or content.get("schema") != schema:
        found = content.get("schema") if isinstance(content, dict) else None
        what = f"schema is {found!r}, this version reads {schema!r}"
        raise PortbevError(what, where=str(path), cure="Use the version of portbev that wrote it")
    return content


def _read_scalars(path: Path, *, lenient: bool, notes: list[str]) -> list[Scalars]:
    """Rows by step; where a step was written twice (killed and resumed), the later row counts."""
    if not path.is_file():
        notes.append("has no scalars.jsonl: no loss curves")
        return []
    rows: dict[int, Scalars] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = _scalars_row(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if lenient and number == len(lines):
                notes.append(f"the last line of scalars.jsonl is cut off (line {number}) and was left out")
                break
            what = f"line {number} is no row of scalars ({type(error).__name__}: {error})"
            raise PortbevError(
                what, where=str(path), cure="Copy the run directory again, or leave this run out"
            ) from error
        rows[row.step] = row
    return [rows[step] for step in sorted(rows)]


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
