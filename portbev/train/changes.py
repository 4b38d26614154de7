"""What may differ between a run and the configuration that it is resumed with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portbev import lists
from portbev.config import Meaning, RunConfig
from portbev.config.section import keys_of
from portbev.errors import PortbevError

EPOCHS = "train.epochs"
_OPEN_ENDED = ("constant", "multistep")
"""Schedules whose learning rate at a step does not depend on how many steps there will be."""


@dataclass(frozen=True)
class Change:
    """A key with another value; None where a configuration has no such key."""

    key: str
    before: Any
    after: Any
    meaning: Meaning

    def __str__(self) -> str:
        return f"{self.key} {_short(self.before)} -> {_short(self.after)}"

    @property
    def judges(self) -> bool:
        """Whether it concerns the evaluation alone."""
        return self.meaning is Meaning.SCORE or self.key.startswith("eval.")


def changes(old: RunConfig, new: RunConfig) -> list[Change]:
    """The keys whose value differs, sorted."""
    before, after = ({key: value for key, value, _ in keys_of(config)} for config in (old, new))
    meant = {key: meaning for config in (old, new) for key, _, meaning in keys_of(config)}
    absent = object()
    keys = sorted(key for key in meant if before.get(key, absent) != after.get(key, absent))
    return [Change(key, before.get(key), after.get(key), meant[key]) for key in keys]


def check_changes(found: Sequence[Change], new: RunConfig, where: str) -> None:
    """Refuse what would make another run of it.

    Raises:
        PortbevError: keys that decide what is computed or how; names them with both values and the way that works.
    """
    schedule = new.schedule.name
    open_ended = schedule in _OPEN_ENDED
    fixed = [c for c in found if not c.meaning.may_change_on_resume and not (c.key == EPOCHS and open_ended)]
    anew = f"begin a new run from its weights: portbev train CONFIG --init {where} --out NEW"
    if [change.key for change in fixed] == [EPOCHS]:
        what = f"{fixed[0]}: the learning rates of schedule.name={schedule} depend on it from the first step on"
        cure = f"Leave it as it was; or, to train longer, {anew} (only constant and multistep can be prolonged)"
        raise PortbevError(what, where=where, cure=cure)
    if fixed:
        how = [change for change in fixed if change.meaning is Meaning.HOW]
        keys = lists.named([str(change) for change in fixed])
        what = f"the run was made with another configuration; these keys differ: {keys}"
        if how == fixed:
            what += "; they decide how each step is computed, so the run would not go on to the same bits"
        cure = f"Go on with its own values: portbev train --resume --out {where}; or {anew}"
        raise PortbevError(what, where=where, cure=cure)


def notes_on(found: Sequence[Change], new: RunConfig, step: int, samples: int) -> list[str]:
    """What a record must say of a run that goes on with other values.

    Args:
        samples: of the training split.
    """
    told = [change for change in found if change.judges or change.key in (EPOCHS, "train.max_steps")]
    notes = [f"resumed at step {step} with {', '.join(map(str, told))}"] if told else []
    ema = new.train.ema
    longer = next((change for change in told if change.key == EPOCHS), None)
    if longer is not None and ema.enabled and ema.start_updates is None:
        shortest = samples * min(longer.before, longer.after)
        if math.exp(-shortest / ema.ramp) > 1e-9:  # else both counts give the same decay
            notes.append(
                f"the average of the weights began as for train.epochs={longer.before} (train.ema.start_updates null "
                f"counts samples times epochs): a run of {longer.after} epochs from its start would average otherwise"
            )
    return notes


def keep_results(folder: Path, step: int, names: Sequence[str]) -> str | None:
    """Move the results of a finished run that goes on into a folder of their own; returns a note, if there were any."""
    kept = folder / f"eval_step_{step:08d}"
    present = [name for name in names if (folder / name).is_file()]
    try:
        for name in present:
            kept.mkdir(exist_ok=True)
            (folder / name).replace(kept / name)
    except OSError as error:
        raise PortbevError(f"cannot keep the results of step {step}: {error.strerror}", where=str(kept)) from error
    return f"the results of step {step} are kept in {kept.name}" if present else None


def _short(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
