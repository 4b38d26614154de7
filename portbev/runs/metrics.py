"""``metrics.json``: what an evaluation found."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from portbev.runs.reading import read_as

METRICS_SCHEMA = "portbev.metrics/1"


class Inference(BaseModel):
    """How fast the detections came, and in how much memory (bytes)."""

    fps: float | None = None
    peak_memory: int | None = None


class Metrics(BaseModel):
    """What the metrics of every benchmark have; ``content`` is the whole file, of which the benchmark knows the rest.

    ``step`` and ``weights`` say which weights were evaluated; results that came as a file have none.
    """

    schema_: Literal["portbev.metrics/1"] = Field(alias="schema")
    benchmark: str
    samples: int
    split: str
    step: int | None = None
    weights: str | None = None
    inference: Inference = Inference()
    content: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _keep_all(cls, value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "content": value}


def read_metrics(path: Path) -> Metrics:
    """The metrics in the file ``path``.

    Raises:
        PortbevError: it cannot be read, is damaged (names the field), or is of another version.
    """
    return read_as(Metrics, path, METRICS_SCHEMA)
