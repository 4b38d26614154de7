"""The figures of a run: accuracy, speed, memory; and their difference to a baseline."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.evaluate.benchmark import Benchmark, find_benchmark
from portbev.parity.document import Metric
from portbev.parity.runs import Run

COSTS = (
    Metric(
        key="training_fps",
        name="train FPS",
        title="training throughput: samples over all devices",
        unit="1/s",
        better="higher",
        kind="cost",
    ),
    Metric(
        key="inference_fps",
        name="infer FPS",
        title="inference throughput: samples",
        unit="1/s",
        better="higher",
        kind="cost",
    ),
    Metric(
        key="training_memory", name="train mem", title="peak memory in training", unit="B", better="lower", kind="cost"
    ),
    Metric(
        key="inference_memory",
        name="infer mem",
        title="peak memory in inference",
        unit="B",
        better="lower",
        kind="cost",
    ),
)
"""Columns of every benchmark, behind its own."""


def columns(benchmark: Benchmark) -> list[Metric]:
    """The columns of a group of runs that ``benchmark`` has scored, in order."""
    own = [
        Metric(key=m.key, name=m.name, title=m.title, unit=m.unit, better=m.better, kind="accuracy")
        for m in benchmark.metrics
    ]
    return [*own, *COSTS]


def all_columns(benchmarks: Sequence[str]) -> list[Metric]:
    """The columns of several benchmarks, each key once; speed and memory last."""
    own = [m for name in dict.fromkeys(benchmarks) for m in columns(find_benchmark(name)) if m.kind == "accuracy"]
    return [*{metric.key: metric for metric in own}.values(), *COSTS]


def values(run: Run) -> dict[str, float | None]:
    """The run's figure for each of its benchmark's columns; None where it was not measured."""
    benchmark = find_benchmark(run.benchmark)
    return {
        **{metric.key: run.metric(*(metric.path or (metric.key,))) for metric in benchmark.metrics},
        "training_fps": run.number("training", "fps"),
        "inference_fps": run.metric("inference", "fps"),
        "training_memory": run.number("training", "peak_memory"),
        "inference_memory": run.metric("inference", "peak_memory"),
    }


def differences(run: Run, baseline: Run) -> dict[str, float | None]:
    """``run`` minus ``baseline``; accuracy only where both were evaluated alike (see :func:`why_not_comparable`)."""
    mine, theirs = values(run), values(baseline)
    accuracy = why_not_comparable(run, baseline) is None
    found: dict[str, float | None] = {}
    for metric in columns(find_benchmark(run.benchmark)):
        a, b = mine[metric.key], theirs.get(metric.key)
        allowed = accuracy or metric.kind == "cost"
        found[metric.key] = a - b if allowed and a is not None and b is not None else None
    return found


def why_not_comparable(run: Run, baseline: Run) -> str | None:
    """Why the accuracy of two runs of one group may not be subtracted; None if it may."""
    for one in (run, baseline):
        if one.metrics is None:
            return f"{one.label} was not evaluated"
        if not one.finished:
            return f"{one.label} is not finished ({one.meta['status']})"
    for key, text in (("step", "step"), ("weights", "weights"), ("split", "split"), ("samples", "sample count")):
        mine, theirs = (run.metrics or {}).get(key), (baseline.metrics or {}).get(key)
        if mine != theirs:
            return f"evaluated with another {text} than the baseline ({mine} and {theirs})"
    return None
