"""Folders with the predictions of an evaluation: run directories, and what ``portbev eval`` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portbev.errors import PortbevError
from portbev.runs.layout import METRICS, PREDICTIONS, RUN, runs_below
from portbev.runs.metrics import EvaluatedData, Metrics, read_metrics
from portbev.runs.run import load_run, runs_near

if TYPE_CHECKING:
    from portbev.runs.record import DataFacts


@dataclass(frozen=True)
class Evaluated:
    """The predictions of an evaluation, and the data that they were made on.

    Attributes:
        predictions: the file, in the format of the benchmark.
        benchmark: its name.
        title: stands above pictures: the configuration's name, the folder's, the device's.
        root: the data root that was used; one that generates the data where its folder is gone.
        version, split: of the data.
        section: the configuration's data section as plain values; empty where results came as a file.
    """

    predictions: Path
    benchmark: str
    title: str
    root: str
    version: str
    split: str
    section: Mapping[str, Any]


def load_evaluated(folder: Path | str) -> Evaluated:
    """Read a run directory, or a folder that ``portbev eval`` wrote.

    Raises:
        PortbevError: it is neither, has no predictions, or does not say on what data they were made.
    """
    folder = Path(folder)
    if (folder / RUN).is_file():
        return _of_run(folder)
    if not (folder / METRICS).is_file():
        what = "no run or evaluation: it has neither run.json nor metrics.json"
        cure = "Name a directory written by portbev train or portbev eval"
        if runs_below(folder):
            cure = runs_near(folder)
        raise PortbevError(what if folder.is_dir() else "no such run directory", where=str(folder), cure=cure)
    metrics = read_metrics(folder / METRICS)
    if metrics.data is None:
        cure = "Evaluate again: portbev eval"
        raise PortbevError("does not say on what data it was made", where=str(folder / METRICS), cure=cure)
    named = (metrics.name, folder.resolve().name, metrics.backend)
    return Evaluated(
        predictions=_predictions(folder, metrics),
        benchmark=metrics.benchmark,
        title="   ".join(part for part in named if part),
        root=root_again(metrics.data),
        version=metrics.data.version,
        split=metrics.data.split,
        section=metrics.data.section,
    )


def root_again(data: EvaluatedData | DataFacts) -> str:
    """The data root of what was evaluated or trained, to be opened again.

    It is the folder that was used; where that is gone, the root as it was given, which may generate the data.
    """
    return data.root if Path(data.root).is_dir() else data.source


def _of_run(folder: Path) -> Evaluated:
    run = load_run(folder)
    if not run.predictions.is_file():
        cure = f"Evaluate it first: portbev eval {folder}"
        raise PortbevError("the run has no predictions.json", where=str(folder), cure=cure)
    data = run.record.data
    return Evaluated(
        predictions=run.predictions,
        benchmark=run.benchmark,
        title=f"{run.record.name}   run {folder.resolve().name}   {run.record.backend.label}",
        root=root_again(data),
        version=data.version,
        split=data.eval_split if run.metrics is None else run.metrics.split,
        section=run.record.config["data"],
    )


def _predictions(folder: Path, metrics: Metrics) -> Path:
    own = folder / PREDICTIONS
    path = own if own.is_file() or metrics.results is None else Path(metrics.results)
    if not path.is_file():
        cure = "Evaluate again: portbev eval" if path == own else "Score the file where it is now: portbev eval RESULTS"
        raise PortbevError("the predictions are gone", where=str(path), cure=cure)
    return path
