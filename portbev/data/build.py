"""Opens the data set that a ``data`` section describes."""

from __future__ import annotations

from portbev.config.data import CommonData
from portbev.data.base import Dataset, Part
from portbev.paths import DataPath
from portbev.plugins import plugins


def build_dataset(section: CommonData, root: DataPath, part: Part, *, seed: int) -> Dataset:
    """The training or the evaluation split of a data section, opened by the plugin that offers its ``kind``.

    Raises:
        DataError: the version, a table, a field, the split or samples are missing.
    """
    return plugins().data_kinds()[section.kind].open(section, root, part, seed=seed)
