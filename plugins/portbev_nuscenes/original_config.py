"""Parts of the originals' configurations that are about nuScenes."""

from __future__ import annotations

import re
from typing import Any

from portbev.convert.reading import Reading

_OF_SPLIT = re.compile(r"infos(?:_temporal)?_(train|val|test|trainval)\.pkl$")


def nuscenes_splits(reading: Reading, train: str) -> None:
    """Take ``data.version`` and the splits from the names of the files of infos; ``train``: where training's is."""
    reading.take("data.version", f"{train}.version", default="v1.0-trainval")
    for key, place in (("data.train_split", train), ("data.eval_split", "data.val")):
        split_from(reading, key, f"{place}.ann_file")
    reading.mark("data.test.ann_file")


def split_from(reading: Reading, key: str, path: str) -> None:
    """Take a split from the name of a file of infos; tell one that names none."""
    name: Any = reading.get(path, "")
    found = _OF_SPLIT.search(name) if isinstance(name, str) else None
    if found is not None and found[1] in ("train", "val"):
        reading.set(key, found[1], path)
    elif name:
        default = key.rpartition(".")[2].removesuffix("_split").replace("eval", "val")
        reading.different.append((path, name, f"it names no split of the tables: {key} is {default}"))
