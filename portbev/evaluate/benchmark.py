"""What a benchmark is: how detections become a score, and what its figures are called.

A data set names its benchmark (``dataset.benchmark``); training, evaluation, the command line and the parity report
take names, directions and tables from it. A new one is a class of this shape that a plugin's hook
``portbev_benchmarks`` returns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from portbev.errors import ConfigError, PortbevError, nearest
from portbev.evaluate.distance import Within
from portbev.plugins import plugins
from portbev.runs.layout import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from portbev.data.base import Dataset
    from portbev.models import Detections
    from portbev.runs.evaluated import Evaluated
    from portbev.viz.views import Views

BEGINNING = 4096
"""Bytes of a results file that a benchmark is shown to recognise it."""


@dataclass(frozen=True)
class Metric:
    """One figure of an evaluation, and a column of the report across runs.

    Attributes:
        key: its name in tables, records and settings.
        name, title: what people call it, and what that means.
        better: which direction is better.
        unit: of the value as stored; empty where there is none.
        path: where it is in ``metrics.json``; ``(key,)`` if left out.
        kind: ``accuracy`` is compared only between equal evaluations, ``cost`` (speed, memory) always.
    """

    key: str
    name: str
    title: str
    better: Literal["higher", "lower"] = "higher"
    unit: str = ""
    path: Annotated[tuple[str, ...], Field(exclude=True)] = ()
    kind: Literal["accuracy", "cost"] = "accuracy"

    def of(self, record: Mapping[str, Any]) -> float | None:
        """The figure in the content of ``metrics.json``; None where it is absent, not defined or not finite."""
        value: Any = record
        for key in self.path or (self.key,):
            value = value.get(key) if isinstance(value, Mapping) else None
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return float(value) if number and math.isfinite(value) else None


@dataclass(frozen=True)
class ClassTable:
    """Figures per class (or per range, or per difficulty): ``rows`` (name, cells); ``total`` is set off below them.

    A cell is a figure, a count, or None where nothing is defined.
    """

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[float | int | None]]]
    total: tuple[str, Sequence[float | int | None]] | None = None
    head: str = "class"


def distance_table(rings: Sequence[Mapping[str, Any]]) -> ClassTable:
    """The entry ``by_distance`` of ``metrics.json`` as a table: rings with ``from`` and ``to`` [m], and figures."""
    columns = [key for key in (rings[0] if rings else {}) if key not in ("from", "to")]
    rows = [(f"{ring['from']:g}-{ring['to']:g} m", [ring.get(column) for column in columns]) for ring in rings]
    return ClassTable([column.replace("_", " ") for column in columns], rows, head="distance")


class Benchmark(Protocol):
    """A way to score detections.

    Attributes:
        name: value of ``dataset.benchmark``.
        metrics: the figures that reports show, in order.
        headline: keys of the few that stand in one line.
        best: key of the one that chooses the best checkpoint where the configuration names none.
        class_title: what :meth:`class_figures` are.
    """

    name: str
    metrics: tuple[Metric, ...]
    headline: tuple[str, ...]
    best: str
    class_title: str

    def check(self, dataset: Dataset) -> list[str]:
        """Look for what would refuse the scoring of detections on ``dataset``; called before the first step.

        Returns:
            Notes for the record.

        Raises:
            DataError: annotations that cannot be scored against.
        """
        ...

    def encode(self, found: Detections, token: str, frame2global: NDArray[Any]) -> dict[str, Any]:
        """Detections of one sample as JSON values, which keep every bit; done in the process that found them.

        Boxes that cannot be scored (not finite, without extent, too many) are left out and counted, not refused; see
        :func:`portbev.evaluate.usable.usable`.
        """
        ...

    def write(self, samples: Sequence[dict[str, Any]], dataset: Dataset, path: Path) -> list[str]:
        """Write all encoded samples, in the data set's order, as a results file; done in one process.

        Returns:
            Notes, such as how many boxes :meth:`encode` left out.
        """
        ...

    def score(
        self, samples: Sequence[dict[str, Any]], dataset: Dataset, *, within: Within | None = None
    ) -> dict[str, Any]:
        """The content of ``metrics.json`` for all encoded samples in the data set's order; done in one process.

        It may have ``by_distance``, a list of rings around the vehicle: ``from``, ``to`` [m], and figures by name.

        Args:
            within: score only what lies at these distances.
        """
        ...

    def recognises(self, path: Path, start: bytes) -> bool:
        """Whether ``path`` looks like a results file of this benchmark; ``start`` is how its content begins."""
        ...

    def score_file(
        self,
        results: Path,
        *,
        data_root: str | None,
        version: str | None,
        split: str,
        within: Within | None = None,
    ) -> dict[str, Any]:
        """The content of ``metrics.json`` for anyone's results file.

        Raises:
            PortbevError: results that cannot be scored, data that is missing, or no version where there are several.
        """
        ...

    def open_views(self, evaluated: Evaluated, *, data_root: str | Path | None, version: str | None) -> Views:
        """The samples of an evaluation's predictions, to be drawn; by default on the data that they were made on.

        Raises:
            PortbevError: data that is missing, does not fit the predictions, or cannot be drawn.
        """
        ...

    def class_table(self, record: Mapping[str, Any]) -> ClassTable:
        """Figures per class in the content of ``metrics.json``."""
        ...

    def class_figures(self, record: Mapping[str, Any]) -> dict[str, float | None]:
        """Class -> the one figure that a comparison of runs shows."""
        ...


def find_benchmark(name: str) -> Benchmark:
    """The benchmark ``name``.

    Raises:
        PortbevError: no plugin offers one of that name.
    """
    benchmarks = plugins().benchmarks()
    if name not in benchmarks:
        raise PortbevError(f"unknown benchmark {name!r}", cure=nearest(name, benchmarks) + plugins().said())
    return benchmarks[name]


def benchmarks_of_file(path: Path) -> list[Benchmark]:
    """The benchmarks that take the file ``path`` for results of theirs: by its suffix, or by what it begins with."""
    with open(path, "rb") as file:
        start = file.read(BEGINNING)
    return [one for one in plugins().benchmarks().values() if one.recognises(path, start)]


def benchmark_of_file(path: Path) -> Benchmark:
    """The one benchmark that knows the results file ``path``.

    Raises:
        PortbevError: none knows it, or several do.
    """
    knowing = benchmarks_of_file(path)
    if len(knowing) == 1:
        return knowing[0]
    what = f"may be results of {' or '.join(one.name for one in knowing)}" if knowing else "is no known results file"
    raise PortbevError(what, where=str(path), cure=f"Say whose it is: --benchmark {'|'.join(plugins().benchmarks())}")


def benchmark_of(record: Mapping[str, Any]) -> Benchmark:
    """The benchmark that wrote the content of a ``metrics.json``.

    Raises:
        PortbevError: the content names none, or no plugin offers it.
    """
    name = record.get("benchmark")
    if not isinstance(name, str):
        raise PortbevError("the metrics name no benchmark", where=METRICS, cure="Evaluate again: portbev eval")
    return find_benchmark(name)


def find_metric(benchmark: Benchmark, key: str | None) -> Metric:
    """The metric that ``train.checkpoint.best`` names; the benchmark's own where it is None.

    Raises:
        ConfigError: the benchmark has no such metric.
    """
    metrics = {metric.key: metric for metric in benchmark.metrics}
    key = benchmark.best if key is None else key
    if key not in metrics:
        what = f"benchmark {benchmark.name!r} has no metric {key!r}"
        raise ConfigError(what, where="train.checkpoint.best", cure=nearest(key, metrics, label="It has"))
    return metrics[key]


def headline_metrics(benchmark: Benchmark) -> list[Metric]:
    """The metrics that stand in one line."""
    return [metric for metric in benchmark.metrics if metric.key in benchmark.headline]


def headline(benchmark: Benchmark, record: Mapping[str, Any]) -> str:
    """``mAP 0.1234  NDS 0.2345``."""
    if record.get("scored") is False:
        return "not scored"
    values = [(metric.name, metric.of(record)) for metric in headline_metrics(benchmark)]
    return "  ".join(f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in values)
