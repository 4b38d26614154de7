"""In which settings two runs differ, read off their records: no plugin is asked.

A record says of each key of its configuration what it means (see :class:`portbev.config.Meaning`).
"""

from __future__ import annotations

from typing import Any

from portbev.config import Meaning
from portbev.config.section import flatten
from portbev.runs.record import RunRecord

SAMPLES = "(samples of a step)"
"""Stands for the keys that make the samples of an optimizer step over all processes."""

_ABSENT = object()


def settings(record: RunRecord) -> dict[str, Any]:
    """The configuration with dotted keys."""
    return flatten(record.config)


def differing_keys(first: RunRecord, second: RunRecord) -> dict[str, Meaning]:
    """Keys with another value in ``second``, and what they mean."""
    a, b = ({key: value for key, value in settings(record).items() if value != {}} for record in (first, second))
    keys = [key for key in dict.fromkeys([*a, *b]) if a.get(key, _ABSENT) != b.get(key, _ABSENT)]
    return {key: _meaning(key, first, second) for key in keys}


def other_experiment(first: RunRecord, second: RunRecord) -> list[str]:
    """Why two runs are not the same experiment: keys that say what is computed, and the samples of a step."""
    keys = [key for key, meaning in differing_keys(first, second).items() if meaning.is_experiment]
    return keys if first.samples_per_step == second.samples_per_step else [*keys, SAMPLES]


def _meaning(key: str, *records: RunRecord) -> Meaning:
    """What ``key`` means in the records that have it; a key inside a mapping means what the mapping does."""
    parts = key.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    said = (record.meanings[name] for name in names for record in records if name in record.meanings)
    return next(said, Meaning.WHAT)
