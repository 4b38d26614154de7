"""``header.json`` of a dump: what was recorded, of which step, on what, and the digests of the dump's files.

It holds the record of a run (as ``run.json`` does: configuration, environment, backend, data) and what a dump adds.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from portbev.digests import json_digest
from portbev.parity.dumps.sketch import Level
from portbev.runs.record import RunRecord

SCHEMA = "portbev.dump/3"
HEADER = "header.json"


class Part(BaseModel):
    """A section; a field that this version does not know is left out."""

    model_config = ConfigDict(extra="ignore")


class StepFacts(Part):
    """Which step it was: ``number`` counts optimizer steps from 0, or batches of the evaluation split."""

    kind: Literal["train", "inference"]
    number: int = 0
    epoch: int = 0


class Rank(Part):
    """One process: its device, the tokens of its samples (one list a batch) and how many records it wrote."""

    rank: int
    device_name: str
    tokens: list[list[str]]
    records: int


class Rerun(Part):
    """How the step was run again for the bands. ``ulp``: weights and inputs moved by one unit in the last place;
    ``order``: sums in another order. ``how`` says it for people; ``seconds`` is what it took."""

    kind: Literal["ulp", "order"]
    how: str
    seconds: float


class File(Part):
    bytes: int
    sha256: str


class Header(Part):
    """The content of ``header.json``.

    Attributes:
        run: as ``run.json``, of a run that begins with this step; ``run.backend.label`` says whether it was emulated.
        level: what is kept of each tensor.
        weights: digest of all parameters and buffers before the step.
        optimizer: groups of parameters as the optimizer has them: names and hyperparameters; empty for inference.
        average: settings of the moving average of the weights; empty without one.
        modules: what the modules are set to: class, names and plain attributes, modules alike in one entry.
        tensors: which tensors are kept whole; empty for none.
        reruns: in the order of each record's responses.
        sketched_by: what made the sketches of large tensors, and why not something faster.
        seconds: of the recorded step itself.
        ended: why the step ended before its update, if a value was not finite; it has no bands then.
        files: digests of the dump's other files.
        hash: SHA-256 of all else in the header.
    """

    model_config = ConfigDict(extra="ignore", populate_by_name=True, serialize_by_alias=True)
    schema_: Literal["portbev.dump/3"] = Field(default="portbev.dump/3", alias="schema")
    run: RunRecord
    step: StepFacts
    level: Level
    weights: str
    optimizer: list[dict[str, Any]] = Field(default_factory=list)
    average: dict[str, Any] = Field(default_factory=dict)
    modules: list[dict[str, Any]] = Field(default_factory=list)
    tensors: list[str] = Field(default_factory=list)
    ranks: list[Rank]
    reruns: list[Rerun] = Field(default_factory=list)
    sketched_by: str = ""
    seconds: float
    ended: str = ""
    files: dict[str, File] = Field(default_factory=dict)
    notes: list[str] = Field(default_factory=list)
    hash: str = ""

    @property
    def label(self) -> str:
        """The backend's name for people. It says ``(emulated)`` wherever the device was, whatever the record says."""
        name = self.run.backend.name
        return f"{name} (emulated)" if self.run.backend.emulated else name


def header_hash(content: dict[str, Any]) -> str:
    """SHA-256 of a header's content as it is written, without its own ``hash``."""
    return json_digest(content, "hash")
