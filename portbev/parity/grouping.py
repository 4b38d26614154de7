"""Which runs may be compared: same model family, same data. May import: parity.runs, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portbev.errors import PortbevError, nearest
from portbev.parity.runs import Run

Key = tuple[str, str, str, str]


@dataclass
class RunGroup:
    """Runs of one family on one data set; the first one is the baseline unless another was chosen."""

    key: Key
    runs: list[Run]
    baseline: Run

    @property
    def title(self) -> str:
        family, digest, version, split = self.key
        return f"{family} on {version}/{split} (data {digest[:12] or 'without digest'})"


def group_runs(runs: Sequence[Run], baseline: str | None = None) -> list[RunGroup]:
    """Groups in the order of their first run; the group of ``baseline`` comes first.

    Args:
        baseline: label, directory name or path of the run that the others of its group are compared with.

    Raises:
        PortbevError: ``baseline`` names none of the runs.
    """
    chosen = None if baseline is None else _find(runs, baseline)
    groups: dict[Key, RunGroup] = {}
    for run in runs:
        key = _key(run)
        group = groups.setdefault(key, RunGroup(key, [], run))
        group.runs.append(run)
        if run is chosen:
            group.baseline = run
    return sorted(groups.values(), key=lambda group: group.baseline is not chosen) if chosen else list(groups.values())


def _key(run: Run) -> Key:
    family = run.get("model", "family")
    data = [run.get("data", name) for name in ("digest", "version", "eval_split")]
    return (str(family or "unknown family"), *(str(part or "") for part in data))  # type: ignore[return-value]


def _find(runs: Sequence[Run], baseline: str) -> Run:
    for run in runs:
        if baseline in (run.label, run.path.name, str(run.path), run.path.as_posix().rstrip("/")):
            return run
    from pathlib import Path

    for run in runs:
        if Path(baseline).resolve() == run.path.resolve():
            return run
    raise PortbevError(
        f"{baseline!r} is none of the runs", where="--baseline", cure=nearest(baseline, [run.label for run in runs])
    )
