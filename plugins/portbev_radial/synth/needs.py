"""What a configuration must say to train on generated recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.config import RunConfig
from portbev_radial.config import RadialData
from portbev_radial.synth.options import RadialSynthOptions


def needs(options: RadialSynthOptions, config: RunConfig, root: Path | None) -> dict[str, Any]:
    """Splits that ``config`` names and that have no sequence: key -> split that has one."""
    data = config.data
    if not isinstance(data, RadialData):
        return {}
    rest = options.sequences - options.validation_count - options.test_count
    counts = {"train": rest, "val": options.validation_count, "test": options.test_count}
    there = [split for split, count in counts.items() if count]
    found = {}
    if data.train_split not in there:
        found["data.train_split"] = there[0]
    if data.eval_split not in there:
        found["data.eval_split"] = there[-1]
    return found
