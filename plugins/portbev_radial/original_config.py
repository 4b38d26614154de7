"""Parts of the original's configurations that are about RADIal."""

from __future__ import annotations

import re
from typing import Any

from portbev.convert.reading import Reading

_OF_SPLIT = re.compile(r"infos_(train|val|test)\.pkl$")


def radial_splits(reading: Reading, train: str, test: str) -> None:
    """Take the splits from the names of the files of infos at the paths ``train`` and ``test``."""
    for key, path in (("data.train_split", train), ("data.eval_split", test)):
        name: Any = reading.get(path, "")
        found = _OF_SPLIT.search(name) if isinstance(name, str) else None
        if found is not None:
            reading.set(key, found[1], path)
        elif name:
            default = "train" if path == train else "test"
            reading.different.append((path, name, f"it names no split: {key} is {default}"))
