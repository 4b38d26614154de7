"""The report as data: what ``report.json`` holds and what every other form is rendered from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field

from portbev.evaluate.benchmark import Metric
from portbev.parity.verdicts import (
    Comparison,
    CurveBand,
    Evidence,
    Gate,
    Options,
    Part,
    PublishedVerdict,
    ReferenceGate,
    Side,
    SideVerdict,
)

SCHEMA = "portbev.parity-report/3"


class RunEntry(Part):
    """A run of the report. ``label`` says where a device is emulated; all forms name runs by it alone."""

    label: str
    path: str
    group: int
    is_baseline: bool
    name: str
    status: str
    family: str
    benchmark: str
    parameters: int | None
    backend: str
    device_name: str | None
    emulated: bool
    world_size: int | None
    precision: str | None
    amp: str | None
    deterministic: str | None
    bits: str  # whether the same run again gives the same ones
    seed: int | None
    config_digest: str | None
    data_digest: str | None
    data_version: str | None
    eval_split: str | None
    eval_samples: int | None
    evaluated_step: int | None
    evaluated_weights: str | None
    step: int | None
    total_steps: int | None
    created: str | None
    finished: str | None
    remarks: list[str]
    values: dict[str, float | None]
    differences: dict[str, float | None]  # to the group's baseline; None where the two may not be compared
    files: dict[str, str] = Field(default_factory=dict)  # name -> SHA-256 of what was read


class TermComparison(Part):
    """One loss term of a run beside its baseline, over the steps that both have."""

    term: str
    steps: int
    identical: bool
    first_step: int | None = None
    first_baseline: float | None = None
    first_value: float | None = None
    first_difference: float | None = None
    first_relative: float | None = None
    largest_difference: float | None = None
    largest_step: int | None = None


class CurveComparison(Part):
    """The losses of a run beside its baseline's. ``band``: absent where there are no control runs of the baseline."""

    run: str
    baseline: str
    verdict: str
    identical: bool
    steps: int
    first_step: int | None
    remarks: list[str]
    terms: list[TermComparison]
    band: CurveBand | None = None


class DifferenceRow(Part):
    """One setting and its value in each run (as text; None where it is absent)."""

    key: str
    values: dict[str, str | None]


class Differences(Part):
    """Settings that are not the same in all runs, and those that are."""

    differing: list[DifferenceRow]
    common: dict[str, str]


class Group(Part):
    """Runs of one model family and configuration on one data set: only these are compared with each other.

    ``metrics``: the columns that these runs have. ``class_title``: what ``class_aps`` are. ``sides``: the runs by
    device; ``comparisons``: every figure of a side against the baseline side; ``verdicts``: a line per such side.
    """

    number: int
    title: str
    family: str
    benchmark: str
    metrics: list[Metric]
    class_title: str
    baseline: str
    runs: list[str]
    classes: list[str]
    class_aps: dict[str, dict[str, float | None]]  # run -> class -> the benchmark's figure for it
    curves: list[CurveComparison]
    configuration: Differences
    sides: list[Side] = Field(default_factory=list)
    comparisons: list[Comparison] = Field(default_factory=list)
    verdicts: list[SideVerdict] = Field(default_factory=list)
    reference: ReferenceGate | None = None

    def compared(self, side: str, kind: str) -> list[Comparison]:
        """The comparisons of ``side`` that are of ``kind``: ``accuracy``, ``class`` or ``cost``."""
        return [one for one in self.comparisons if (one.side, one.kind) == (side, kind)]


class PassedOver(Part):
    run: str
    provider: str
    reason: str
    times: int


class OperatorLedger(Part):
    """Who served one operator in each run: direction -> run -> provider -> calls."""

    operator: str
    differs: bool
    served: dict[str, dict[str, dict[str, int]]]
    passed_over: list[PassedOver]

    def called(self) -> dict[str, dict[str, dict[str, int]]]:
        """:attr:`served` without directions that no run has called."""
        return {direction: by_run for direction, by_run in self.served.items() if any(by_run.values())}


class PublishedRow(Part):
    """``config``: the shipped configuration that the row is a result of; ``samples_per_step``: over all devices."""

    name: str
    config: str | None = None
    samples_per_step: int | None = None
    values: dict[str, float]
    notes: list[str] = Field(default_factory=list)


class PublishedTable(Part):
    """Figures that somebody else published; shown beside the runs, never compared with them.

    ``values`` use the keys of the benchmark's metrics, in the report's units. ``family``: whose figures they are; the
    table stands beside runs of that family alone, and without one behind all groups. ``original``: the figures are of
    the implementation that the models follow, and runs of a row's ``config`` are compared with them.
    ``same_experiment``: the rows are runs of one configuration on several devices. ``spread``: standard deviation over
    seeds, by metric. ``eval_samples``: how many samples were scored.
    """

    schema_: Literal["portbev.published/1"] = Field(alias="schema")
    title: str
    source: str
    what: str
    family: str | None = None
    benchmark: str
    eval_samples: int | None = None
    original: bool = False
    same_experiment: bool = False
    spread: dict[str, float] = Field(default_factory=dict)
    setting: dict[str, Any] = Field(default_factory=dict)
    caveats: list[str] = Field(default_factory=list)
    rows: list[PublishedRow] = Field(min_length=1)

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    def columns(self, metrics: Sequence[Metric]) -> list[Metric]:
        """Those of ``metrics`` that any row has."""
        return [metric for metric in metrics if any(metric.key in row.values for row in self.rows)]


class ParityReport(Part):
    """The whole report."""

    schema_: Literal["portbev.parity-report/3"] = Field(default="portbev.parity-report/3", alias="schema")
    portbev: str
    summary: list[str]
    warnings: list[str]
    metrics: list[Metric]
    runs: list[RunEntry]
    groups: list[Group]
    environment: Differences
    ledger: list[OperatorLedger]
    published: list[PublishedTable]
    published_verdicts: list[PublishedVerdict] = Field(default_factory=list)
    evidence: list[Evidence] = Field(default_factory=list)
    options: Options = Field(default_factory=Options)
    gate: Gate | None = None
    content_hash: str = ""  # SHA-256 of the report as canonical JSON without this key

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    def published_beside(self, group: Group | None) -> list[PublishedTable]:
        """Tables of the group's family and benchmark, beside the first such group; None: those that have no group."""
        if group is not None:
            earlier = self.groups[: self.groups.index(group)]
            if any((one.family, one.benchmark) == (group.family, group.benchmark) for one in earlier):
                return []
            return [t for t in self.published if (t.family, t.benchmark) == (group.family, group.benchmark)]
        homes = {(one.family, one.benchmark) for one in self.groups}
        return [table for table in self.published if (table.family, table.benchmark) not in homes]

    def run(self, label: str) -> RunEntry:
        return next(run for run in self.runs if run.label == label)
