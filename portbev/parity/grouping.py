"""Which runs may be compared: same model family, configuration, data and benchmark."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from portbev.config import LATER_KEYS, NEUTRAL_KEYS
from portbev.errors import PortbevError, nearest
from portbev.parity.differences import flatten
from portbev.parity.runs import Run

DEVICE_KEYS = (
    "kernels",
    "train.amp",
    "train.loss_scale",
    "train.precision",
    "train.deterministic",
    "train.threads",
    "train.keep_freed_memory",
    "train.seed",
    "train.sync_batchnorm",
    "train.find_unused_parameters",
    "train.batch_size",
    "train.accumulate",
    "train.max_steps",
    "train.eval_every",
    "train.checkpoint",
    "eval",
    "data.eval_stride",
)
"""Keys in which runs of one configuration may differ: how and on how many devices it is computed, and how long.

Of the batch size the samples of an optimizer step over all processes count.
"""


class Key(NamedTuple):
    """What the runs of a group have in common; ``digest`` is the data's, ``configuration`` leaves devices out."""

    family: str
    configuration: str
    benchmark: str
    digest: str
    version: str
    split: str


@dataclass
class RunGroup:
    """Runs that may be compared; the first one is the baseline unless another was chosen."""

    key: Key
    runs: list[Run]
    baseline: Run

    @property
    def title(self) -> str:
        key = self.key
        data = "/".join(part for part in (key.version, key.split) if part)
        digest = key.digest[:12] or "without digest"
        return f"{key.family} on {data} (data {digest}, configuration {key.configuration[:12]})"


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


def comparable_settings(run: Run) -> dict[str, Any]:
    """The run's configuration, flat, without what cannot change a number and what a device may differ in."""
    settings = flatten(run.meta["config"])
    kept = {key: value for key, value in settings.items() if not _is_in(key, (*NEUTRAL_KEYS, *DEVICE_KEYS))}
    kept = {key: value for key, value in kept.items() if not (key in LATER_KEYS and value == LATER_KEYS[key])}
    size, times = settings.get("train.batch_size"), settings.get("train.accumulate", 1)
    if isinstance(size, int) and isinstance(times, int):
        kept["(samples of a step)"] = size * times * int(run.get("backend", "world_size") or 1)
    return kept


def _is_in(key: str, sections: Sequence[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _key(run: Run) -> Key:
    text = json.dumps(comparable_settings(run), sort_keys=True, default=str)
    data = [str(run.get("data", name) or "") for name in ("digest", "version", "eval_split")]
    family = str(run.get("model", "family") or "unknown family")
    return Key(family, hashlib.sha256(text.encode()).hexdigest(), run.benchmark, *data)


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
