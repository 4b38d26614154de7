"""From a ``data`` section to a data set."""

from __future__ import annotations

from pathlib import Path

from portbev.config.data import CommonData
from portbev.data.base import Dataset, Part
from portbev.plugins import plugins


def build_dataset(section: CommonData, root: Path, part: Part, *, seed: int) -> Dataset:
    """The training or the evaluation split of a data section, read by whoever offers its ``kind``.

    Raises:
        DataError: missing version, table, field, split or samples.
    """
    return plugins().data_kinds()[section.kind].open(section, root, part, seed=seed)
