"""The figures of a run: accuracy, speed, memory; and their difference to a baseline."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.evaluate.benchmark import Benchmark, Metric, find_benchmark
from portbev.files import finite
from portbev.parity.runs import LabelledRun

COSTS = (
    Metric("training_fps", "train FPS", "training throughput: samples over all devices", unit="1/s", kind="cost"),
    Metric("inference_fps", "infer FPS", "inference throughput: samples", unit="1/s", kind="cost"),
    Metric("training_memory", "train mem", "peak memory in training", better="lower", unit="B", kind="cost"),
    Metric("inference_memory", "infer mem", "peak memory in inference", better="lower", unit="B", kind="cost"),
)
"""Columns of every benchmark, behind its own."""


def columns(benchmark: Benchmark) -> list[Metric]:
    """The columns of a group of runs that ``benchmark`` has scored, in order."""
    return [*benchmark.metrics, *COSTS]


def all_columns(benchmarks: Sequence[str]) -> list[Metric]:
    """The columns of several benchmarks, each key once; speed and memory last."""
    own = {metric.key: metric for name in dict.fromkeys(benchmarks) for metric in find_benchmark(name).metrics}
    return [*own.values(), *COSTS]


def values(run: LabelledRun) -> dict[str, float | None]:
    """The run's figure for each of its benchmark's columns; None where it was not measured."""
    metrics, training = run.metrics, run.record.training
    content = {} if metrics is None else metrics.content
    figures = {metric.key: metric.of(content) for metric in find_benchmark(run.run.benchmark).metrics}
    costs = {
        "training_fps": training.fps,
        "inference_fps": None if metrics is None else metrics.inference.fps,
        "training_memory": training.peak_memory,
        "inference_memory": None if metrics is None else metrics.inference.peak_memory,
    }
    measured: dict[str, float | None] = finite({**figures, **costs})
    return measured


def accuracy(run: LabelledRun) -> dict[str, float | None]:
    """The benchmark's figures of a run, those of its classes too."""
    benchmark = find_benchmark(run.run.benchmark)
    content = {} if run.metrics is None else run.metrics.content
    figures: dict[str, float | None] = finite(
        {
            **{metric.key: metric.of(content) for metric in benchmark.metrics},
            **{f"class {name}": value for name, value in benchmark.class_figures(content).items()},
        }
    )
    return figures


def differences(run: LabelledRun, baseline: LabelledRun) -> dict[str, float | None]:
    """``run`` minus ``baseline``; accuracy only where both were evaluated alike (see :func:`why_not_comparable`)."""
    mine, theirs = values(run), values(baseline)
    accuracy = why_not_comparable(run, baseline) is None
    changes: dict[str, float | None] = {}
    for metric in columns(find_benchmark(run.run.benchmark)):
        a, b = mine[metric.key], theirs.get(metric.key)
        allowed = accuracy or metric.kind == "cost"
        changes[metric.key] = a - b if allowed and a is not None and b is not None else None
    return changes


def why_not_comparable(run: LabelledRun, baseline: LabelledRun) -> str | None:
    """Why the accuracy of two runs of one group may not be subtracted; None if it may."""
    for one in (run, baseline):
        if one.metrics is None:
            return f"{one.label} was not evaluated"
        if not one.metrics.scored:
            return f"{one.label} was not scored"
        if not one.finished:
            return f"{one.label} is not finished ({one.record.status})"
    for name, text in (("step", "step"), ("weights", "weights"), ("split", "split"), ("samples", "sample count")):
        mine, theirs = getattr(run.metrics, name), getattr(baseline.metrics, name)
        if mine != theirs:
            return f"evaluated with another {text} than the baseline ({mine} and {theirs})"
    return None
