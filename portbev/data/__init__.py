"""Data sets, their augmentation, and batches in a fixed order.

The names below are imported when they are asked for: the facts in ``portbev.data.nuscenes`` need neither PyTorch nor
Pillow.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portbev.config.schema import DataSection
    from portbev.data.batch import collate
    from portbev.data.loader import Loader, build_loader
    from portbev.data.nuscenes.dataset import DetectionDataset, Part, Sample
    from portbev.data.root import open_root

__all__ = ["DetectionDataset", "Loader", "Part", "Sample", "build_dataset", "build_loader", "collate", "open_root"]

_HOMES = {
    "DetectionDataset": "portbev.data.nuscenes.dataset",
    "Loader": "portbev.data.loader",
    "Part": "portbev.data.nuscenes.dataset",
    "Sample": "portbev.data.nuscenes.dataset",
    "build_loader": "portbev.data.loader",
    "collate": "portbev.data.batch",
    "open_root": "portbev.data.root",
}


def build_dataset(section: DataSection, root: Path, part: Part, *, seed: int) -> DetectionDataset:
    """The training or the evaluation split of a data section.

    Raises:
        DataError: missing version, table, field, split or key frames.
    """
    from portbev.data.nuscenes.dataset import DetectionDataset

    return DetectionDataset(section, root, part, seed=seed)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
