"""Which runs may be compared: those of one experiment on the same data, scored by one benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from portbev.errors import PortbevError, nearest
from portbev.parity.runs import LabelledRun
from portbev.runs.record import RunRecord


class Key(NamedTuple):
    """What the runs of a group have in common.

    Attributes:
        configuration: digest of the keys that say what is computed.
        samples_per_step: of an optimizer step, over all processes: how they are shared out does not count.
        digest, version, split: of the data, and what is evaluated of it.
    """

    family: str
    configuration: str
    samples_per_step: int
    benchmark: str
    digest: str
    version: str
    split: str

    @classmethod
    def of(cls, record: RunRecord) -> Key:
        data = record.data
        return cls(
            record.model.family,
            record.config_digest,
            record.samples_per_step,
            data.benchmark,
            data.digest,
            data.version,
            data.eval_split,
        )

    def differs_in_configuration_alone(self, other: Key) -> bool:
        """Whether the two are of one family, benchmark and data."""
        return self != other and self._replace(configuration="", samples_per_step=0) == other._replace(
            configuration="", samples_per_step=0
        )


@dataclass
class RunGroup:
    """Runs that may be compared; the first one is the baseline unless another was chosen."""

    key: Key
    runs: list[LabelledRun]
    baseline: LabelledRun

    @property
    def title(self) -> str:
        key = self.key
        data = "/".join(part for part in (key.version, key.split) if part)
        return f"{key.family} on {data} (data {key.digest[:12]}, configuration {key.configuration[:12]})"


def group_runs(runs: Sequence[LabelledRun], baseline: str | None = None) -> list[RunGroup]:
    """Groups in the order of their first run; the group of ``baseline`` comes first.

    Args:
        baseline: label, directory name or path of the run that the others of its group are compared with.

    Raises:
        PortbevError: ``baseline`` names none of the runs.
    """
    chosen = None if baseline is None else _find(runs, baseline)
    groups: dict[Key, RunGroup] = {}
    for run in runs:
        key = Key.of(run.record)
        group = groups.setdefault(key, RunGroup(key, [], run))
        group.runs.append(run)
        if run is chosen:
            group.baseline = run
    return sorted(groups.values(), key=lambda group: group.baseline is not chosen) if chosen else list(groups.values())


def _find(runs: Sequence[LabelledRun], baseline: str) -> LabelledRun:
    for run in runs:
        if baseline in (run.label, run.path.name, str(run.path), run.path.as_posix().rstrip("/")):
            return run
    for run in runs:
        if Path(baseline).resolve() == run.path.resolve():
            return run
    raise PortbevError(
        f"{baseline!r} is none of the runs", where="--baseline", cure=nearest(baseline, [run.label for run in runs])
    )
