"""Notes on what models of nuScenes find and what its benchmark scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from portbev.config.agreement import settings
from portbev_nuscenes.classes import DETECTION_CLASSES, MAX_BOXES_PER_SAMPLE


def absent_classes(classes: Collection[str], key: str, categories: Mapping[str, str]) -> list[str]:
    """Notes on classes that the model does not know, over which the benchmark averages or which the data ask for.

    Args:
        classes: names of the model's classes.
        key: the key that lists them.
        categories: ``data.categories``, from categories of the tables to classes.
    """
    absent = [name for name in DETECTION_CLASSES if name not in classes]
    if not absent:
        return []
    lost = {f"data.categories.{name}": target for name, target in categories.items() if target in absent}
    if lost:
        return [
            *absent_classes(classes, key, {}),
            f"boxes are not learnt whose class {key} leaves out ({settings(lost)})",
        ]
    which = f"{key} leaves out {', '.join(absent)}"
    return [f"{which}: the benchmark averages over {len(DETECTION_CLASSES)} classes and counts an AP of 0 for each"]


def too_many_boxes(limit: int, values: Mapping[str, Any]) -> list[str]:
    """A note if the model may find more boxes in a sample than the benchmark takes.

    Args:
        limit: boxes that decoding allows.
        values: the keys that say so.
    """
    if limit <= MAX_BOXES_PER_SAMPLE:
        return []
    what = f"decoding allows {limit} boxes a sample ({settings(values)})"
    return [f"{what}: the benchmark takes {MAX_BOXES_PER_SAMPLE}, so the best {MAX_BOXES_PER_SAMPLE} are kept"]
