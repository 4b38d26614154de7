"""``run.json``: what was run, on what, and how far it came."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from portbev.config import Meaning
from portbev.data.summary import Summary
from portbev.files import finite, write_json
from portbev.precision import Determinism
from portbev.runs.ledger import Ledger
from portbev.runs.reading import read_as

SCHEMA = "portbev.run/2"

Status = Literal["running", "finished", "failed", "interrupted"]


class Part(BaseModel):
    """A section of the record. A field that this version does not know is left out: a later one may have added it."""

    model_config = ConfigDict(extra="ignore", validate_assignment=True)


class ModelFacts(Part):
    family: str
    parameters: int | None = None


class BackendFacts(Part):
    """What it ran on. ``label`` is the backend's name for people; it says when the device was emulated."""

    name: str
    label: str
    device_type: str
    emulated: bool
    collective: str | None  # None: a process alone
    device_name: str
    world_size: int


class DataFacts(Part):
    """The data. ``source`` is the root as it was given, ``root`` the folder that it meant; digests are of content.

    ``train`` and ``evaluation`` say what is learnt from and scored against.
    """

    root: str
    source: str
    version: str
    benchmark: str
    train_split: str
    eval_split: str
    digest: str
    eval_digest: str
    train_samples: int
    eval_samples: int
    train: Summary | None = None
    evaluation: Summary | None = None
    notes: list[str] = Field(default_factory=list)


class Progress(Part):
    """How far it came. ``skipped_steps``: updates that a loss scaler left out."""

    step: int = 0
    epoch: int = 0
    samples: int = 0
    total_steps: int = 0
    skipped_steps: int = 0


class TrainingFacts(Part):
    """Speed and memory of training (see :class:`portbev.runs.scalars.Speed`); bytes, seconds, samples per second."""

    fps: float | None = None
    step_time_median: float | None = None
    method: str = ""
    peak_memory: int = 0
    seconds: float = 0.0


class Evaluation(Part):
    """An evaluation in or after training. ``figures``: the benchmark's headline metrics by key."""

    step: int
    epoch: int
    weights: str
    samples: int
    stride: int  # every n-th sample of the split
    figures: dict[str, float | None]


class Resumption(Part):
    """The run was taken up again at ``step``; its status was ``after`` then.

    ``processes``: how many went on with it. ``by``: who started it again, where that was not a person.
    """

    step: int
    time: str
    after: Status
    processes: int | None = None
    by: str | None = None


class Deviation(Part):
    """Steps that were taken again by another number of processes, beside the same steps before.

    ``steps`` after ``step`` are compared: the largest relative differences of the total loss and the gradient's norm.
    """

    step: int
    before: int
    processes: int
    steps: int
    loss: float
    grad_norm: float


class RunRecord(Part):
    """The content of ``run.json``.

    ``config`` is the resolved configuration as plain values. ``config_digest`` is that of the keys that say what is
    computed, and ``meanings`` says of every other key what it is (see :class:`portbev.config.Meaning`): with the two,
    runs can be compared where the model's plugin is not installed.
    """

    schema_: Literal["portbev.run/2"] = Field(default="portbev.run/2", alias="schema")
    name: str
    status: Status = "running"
    created: str
    finished: str | None = None
    portbev: str
    command: list[str] = Field(default_factory=list)
    config: dict[str, Any]
    config_digest: str
    meanings: dict[str, Meaning]
    samples_per_step: int  # of an optimizer step, over all processes
    batch_parts: int | None = None  # that a global batch is divided into; None: one for each process
    agents: list[str] = Field(default_factory=list)  # of torchrun, that started its processes
    model: ModelFacts
    init: str | None = None  # checkpoint whose weights it started from
    init_partial: bool = False  # whether it took those that fit
    seed: int
    backend: BackendFacts
    environment: dict[str, Any]
    precision: str
    amp: str
    deterministic: Determinism
    kernels: Ledger = Field(default_factory=dict)
    torch_not_deterministic: list[str] = Field(default_factory=list)  # functions for which torch has no such algorithm
    data: DataFacts
    progress: Progress = Field(default_factory=Progress)
    training: TrainingFacts = Field(default_factory=TrainingFacts)
    evaluations: list[Evaluation] = Field(default_factory=list)
    resumed: list[Resumption] = Field(default_factory=list)
    deviations: list[Deviation] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    error: str | None = None

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    @property
    def bits(self) -> str:
        """Whether the same run again, with the same versions on the same machine, gives the same bits; for people."""
        varying = [
            f"{operator} by {provider}"
            for operator, page in self.kernels.items()
            for provider in page.not_deterministic
        ]
        varying += [f"torch's {name}" for name in self.torch_not_deterministic]
        if varying:
            return f"vary: {', '.join(varying)}"
        return "may vary: nothing was asked of torch" if self.deterministic == "off" else "reproducible"


def read_record(path: Path) -> RunRecord:
    """The record in the file ``path``.

    Raises:
        PortbevError: it cannot be read, is damaged (names the field), or is of another version.
    """
    return read_as(RunRecord, path, SCHEMA)


def write_record(record: RunRecord, path: Path) -> None:
    """Write ``record`` whole or not at all."""
    write_json(path, finite(record.model_dump(mode="json", by_alias=True)))
