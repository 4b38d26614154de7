"""``metrics.json``: what an evaluation found, and of what."""

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


class EvaluatedData(BaseModel):
    """The data of an evaluation: ``source`` is the root as it was given, ``root`` the folder that it meant.

    ``section`` is the configuration's data section as plain values, ``digest`` that of the split's content; both are
    absent where results came as a file.
    """

    root: str
    source: str
    version: str
    split: str
    section: dict[str, Any] = Field(default_factory=dict)
    digest: str | None = None


class Metrics(BaseModel):
    """What the metrics of every benchmark have; ``content`` is the whole file, of which the benchmark knows the rest.

    ``step`` and ``weights`` say which weights were evaluated, ``checkpoint`` where they lay; results that came as a
    file (``results``) have none. ``scored`` is false for a split without annotations. ``within``: the distances [m] to
    which the scoring was confined. ``name`` is the configuration's.
    """

    schema_: Literal["portbev.metrics/1"] = Field(alias="schema")
    benchmark: str
    samples: int
    split: str
    version: str | None = None
    scored: bool = True
    step: int | None = None
    weights: str | None = None
    name: str | None = None
    backend: str | None = None
    checkpoint: str | None = None
    results: str | None = None
    within: tuple[float, float | None] | None = None
    data: EvaluatedData | None = None
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
