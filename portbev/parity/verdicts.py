"""What the report says of devices, as data: are they equal, how sure is that, and what else speaks for it.

Runs that differ in their seed alone are a side. Each side of a group is compared with the baseline's.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["equivalent", "different", "undecided", "not judged"]
CurveVerdict = Literal["identical", "within rounding", "outside", "not judged"]
Test = Literal["identical", "paired", "welch", "pooled", "known spread", "none"]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Side(Part):
    """Runs of one device and one way of computing, which differ in their seed alone.

    Attributes:
        label: says where the device is emulated; all forms name the side by it alone.
        counted: the runs whose scores count: finished, evaluated alike, one for each seed.
    """

    label: str
    backend: str
    device_name: str | None
    emulated: bool
    is_baseline: bool
    runs: list[str]
    seeds: list[int]
    counted: list[str]
    remarks: list[str] = Field(default_factory=list)


class Comparison(Part):
    """One figure of a side against the baseline side's.

    Attributes:
        kind: ``accuracy`` (the benchmark's metrics), ``class`` (its figure for a class), ``cost`` (speed, memory).
        key, name: of the metric or class.
        headline: whether the overall verdict rests on it.
        scale: ``difference``: side minus baseline, in the metric's unit; ``ratio``: side over baseline, minus 1.
        better: which direction is.
        margin: declared largest difference (on ``scale``) that counts as none; None: none is declared.
        test: how it was judged. ``paired``: the same seeds on both sides; ``welch``: other seeds; ``pooled``: one side
            has a single run and is taken to spread like the other; ``known spread``: single runs, and a spread that
            was declared; ``identical``: the same bits throughout, which needs no statistics.
        seeds, baseline_seeds: runs that count on each side.
        points: the differences by seed where paired, else none.
        estimate, low, high: the difference on ``scale`` with its confidence interval. It lies inside the margin
            exactly where the two one-sided tests are passed.
        confidence: of the interval, 0 to 1.
        p_equivalent: the larger p-value of the two one-sided tests; p_different: of the test for no difference. Both
            adjusted for the ``compared_together`` comparisons of this kind where ``says`` tells so.
        power: chance of the verdict equivalent for so many runs that spread so, if there is no difference.
        runs_needed: runs on each side for the planned power; more_runs: how many are missing of that.
    """

    kind: Literal["accuracy", "class", "cost"]
    key: str
    name: str
    headline: bool = False
    scale: Literal["difference", "ratio"] = "difference"
    better: Literal["higher", "lower"] = "higher"
    side: str
    baseline: str
    margin: float | None
    test: Test
    seeds: int
    baseline_seeds: int
    mean: float | None = None
    baseline_mean: float | None = None
    std: float | None = None
    baseline_std: float | None = None
    points: list[float] = Field(default_factory=list)
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    p_equivalent: float | None = None
    p_different: float | None = None
    compared_together: int = 1
    power: float | None = None
    runs_needed: int | None = None
    more_runs: int | None = None
    verdict: Verdict
    says: str


class SideVerdict(Part):
    """How a side stands to the baseline side, all things together. ``says`` is the one sentence for it."""

    side: str
    baseline: str
    accuracy: Verdict
    losses: CurveVerdict
    speed: Verdict
    memory: Verdict
    says: str


class ReferenceGate(Part):
    """Whether the sides agree with what was recorded of the original implementation.

    ``title``, ``source`` and ``row`` are of the published table; absent where none is recorded for this configuration.
    The comparisons are of each side (the baseline too) against the recorded figures.
    """

    verdict: Verdict
    says: str
    title: str | None = None
    source: str | None = None
    row: str | None = None
    comparisons: list[Comparison] = Field(default_factory=list)


class PublishedVerdict(Part):
    """What the rows of a published table show of each other: each against the first."""

    title: str
    comparisons: list[Comparison]
    says: list[str]


class Evidence(Part):
    """Another document that speaks of the same question: operators, dumps, bisection, benchmarks.

    ``file`` is a name without folders; ``sha256`` that of its bytes. ``says`` is what it concludes, in its own words.
    """

    file: str
    schema_: str = Field(alias="schema")
    sha256: str
    what: str
    backend: str | None = None
    emulated: bool | None = None
    verdict: str | None = None
    says: list[str] = Field(default_factory=list)

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)


class BandTerm(Part):
    """One curve against its band.

    Attributes:
        term: a loss term, or ``grad_norm``.
        first_step: the first one outside; None: all are inside.
        largest: the largest difference over its limit; above 1 is outside.
        growth, control_growth: factor by which the difference grows in a step, while it grows.
        steps, sizes, limits: the absolute difference to the baseline and its limit, thinned for drawing.
    """

    term: str
    first_step: int | None
    largest: float | None
    growth: float | None
    control_growth: float | None
    steps: list[int]
    sizes: list[float | None]
    limits: list[float]


class CurveBand(Part):
    """Curves against the band of control runs: the baseline again, its first weights moved by one unit in the last
    place. ``allowance``: how many times the controls' largest difference a device may differ."""

    controls: list[str]
    allowance: float
    verdict: CurveVerdict
    first_step: int | None
    first_term: str | None
    terms: list[BandTerm]
    says: str


class Gate(Part):
    """What was required of the report (``--require``), and why it does not hold."""

    required: list[str]
    passed: bool
    reasons: list[str]


class Judgement(Part):
    """The settings of the tests, declared before they are made.

    Attributes:
        alpha: largest chance of a false verdict ``equivalent`` (and of a false ``different``).
        power: what ``runs_needed`` is planned for.
        looks: how often the runs are judged in all, this time included; each has its share of ``alpha``.
        margins: by key of the metric; ``class`` for a class's figure.
        spreads: declared standard deviations over seeds, by key.
    """

    alpha: float = 0.05
    power: float = 0.8
    looks: int = 1
    margins: dict[str, float] = Field(default_factory=dict)
    spreads: dict[str, float] = Field(default_factory=dict)

    @property
    def level(self) -> float:
        """The part of ``alpha`` that one look has."""
        return self.alpha / self.looks


class Options(Part):
    """What the report was made with, so that it can be made again."""

    baseline: str | None = None
    published: list[str] = Field(default_factory=list)
    controls: list[str] = Field(default_factory=list)
    require: list[str] = Field(default_factory=list)
    judgement: Judgement = Field(default_factory=Judgement)
