"""Inference over a split, and its score by the benchmark that the data set names.

``benchmark`` says what a benchmark is and which there are, ``nuscenes`` is one, ``inference`` runs the model,
``checkpoints`` evaluates what a run left. The names below are imported when they are asked for: scoring a submission
needs no PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portbev.evaluate.benchmark import Benchmark, Metric, find_benchmark
    from portbev.evaluate.checkpoints import evaluate_checkpoint, evaluate_run, with_data
    from portbev.evaluate.inference import evaluate_model, predict
    from portbev_nuscenes.benchmark import evaluate_submission

__all__ = [
    "Benchmark",
    "Metric",
    "evaluate_checkpoint",
    "evaluate_model",
    "evaluate_run",
    "evaluate_submission",
    "find_benchmark",
    "predict",
    "with_data",
]

_HOMES = {
    "Benchmark": "benchmark",
    "Metric": "benchmark",
    "evaluate_checkpoint": "checkpoints",
    "evaluate_model": "inference",
    "evaluate_run": "checkpoints",
    "evaluate_submission": "nuscenes",
    "find_benchmark": "benchmark",
    "predict": "inference",
    "with_data": "checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"portbev.evaluate.{_HOMES[name]}"), name)
