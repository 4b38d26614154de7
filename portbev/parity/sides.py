"""Sides: runs of one device and one way of computing, which differ in their seed alone.

A seed that comes again (the same run repeated, on another machine perhaps) belongs to a side of its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from portbev.parity.document import Side
from portbev.parity.grouping import RunGroup
from portbev.parity.runs import EMULATED, LabelledRun
from portbev.parity.settings import differing_keys, settings
from portbev.parity.table import why_not_comparable

SEED = "train.seed"


@dataclass
class SideRuns:
    """The runs of a side.

    Attributes:
        label: the run's own where it is alone, else the backend's name, made different from the other sides'.
        counted: seed -> the run whose scores count.
    """

    label: str
    runs: list[LabelledRun]
    counted: dict[int, LabelledRun] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def emulated(self) -> bool:
        return self.runs[0].record.backend.emulated

    def partner(self, run: LabelledRun) -> LabelledRun | None:
        """The run of this side with the seed of ``run``."""
        return next((one for one in self.runs if one.record.seed == run.record.seed), None)

    def described(self, *, is_baseline: bool) -> Side:
        """As the report has it."""
        backend = self.runs[0].record.backend
        return Side(
            label=self.label,
            backend=backend.label,
            device_name=self.runs[0].device,
            emulated=self.emulated,
            is_baseline=is_baseline,
            runs=[run.label for run in self.runs],
            seeds=sorted({run.record.seed for run in self.runs}),
            counted=[run.label for run in self.counted.values()],
            remarks=self.remarks,
        )


def split_into_sides(group: RunGroup) -> list[SideRuns]:
    """The sides of a group; that of its baseline first, then in the order of their first runs."""
    found: dict[tuple[str, int], list[LabelledRun]] = {}
    times: Counter[tuple[str, int]] = Counter()
    for run in [group.baseline, *(run for run in group.runs if run is not group.baseline)]:
        way = _way(run)
        times[way, run.record.seed] += 1  # a seed that comes again says nothing of the spread over seeds
        found.setdefault((way, times[way, run.record.seed]), []).append(run)
    first, *_ = found.values()
    sides = [SideRuns(label, runs) for label, runs in zip(_labels(list(found.values())), found.values(), strict=True)]
    reference = next((run for run in first if why_not_comparable(run, run) is None), first[0])
    for side in sides:
        _count(side, reference)
    return sides


def _way(run: LabelledRun) -> str:
    """Equal for runs that may be one side: the same kind of device, computing in the same way."""
    record, backend = run.record, run.record.backend
    facts = (backend.label, backend.device_type, backend.device_name, backend.emulated, backend.world_size)
    switches = (record.precision, record.amp, record.deterministic, record.init is None)
    versions = (record.portbev, record.environment.get("torch"))
    return json.dumps([facts, switches, versions, _settings(run)], sort_keys=True, default=str)


def _settings(run: LabelledRun) -> dict[str, Any]:
    """The keys on which a number may depend, but for the seed."""
    record = run.record
    nothing = record.model_copy(update={"config": {}})
    reported = [key for key, meaning in differing_keys(nothing, record).items() if meaning.is_reported]
    return {key: settings(record)[key] for key in reported if key != SEED}


def _labels(sides: Sequence[Sequence[LabelledRun]]) -> list[str]:
    names = [runs[0].label if len(runs) == 1 else runs[0].record.backend.label for runs in sides]
    doubled = {name for name, times in Counter(names).items() if times > 1}
    names = [f"{n}, {r[0].device}" if n in doubled else n for n, r in zip(names, sides, strict=True)]
    doubled = {name for name, times in Counter(names).items() if times > 1}
    names = [f"{n}, from {r[0].label}" if n in doubled else n for n, r in zip(names, sides, strict=True)]
    return [
        f"{name} {EMULATED}" if runs[0].record.backend.emulated and EMULATED not in name else name
        for name, runs in zip(names, sides, strict=True)
    ]


def _count(side: SideRuns, reference: LabelledRun) -> None:
    """Choose the runs whose scores count, and say why others do not."""
    for run in side.runs:
        why = why_not_comparable(run, reference)
        if why is not None:
            side.remarks.append(f"{run.label} does not count: {why}")
        else:
            side.counted[run.record.seed] = run
