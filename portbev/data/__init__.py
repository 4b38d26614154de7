"""Data sets, their augmentation, and batches in a fixed order.

The names below are imported when they are asked for: the facts in ``portbev.data.nuscenes`` need neither PyTorch nor
Pillow.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from portbev.config.data import CommonData
    from portbev.data.base import Dataset, Part
    from portbev.data.loader import Loader, build_loader
    from portbev.data.nuscenes.dataset import DetectionDataset, Sample
    from portbev.data.root import open_root

__all__ = ["Dataset", "DetectionDataset", "Loader", "Part", "Sample", "build_dataset", "build_loader", "open_root"]

_HOMES = {
    "Dataset": "portbev.data.base",
    "DetectionDataset": "portbev.data.nuscenes.dataset",
    "Loader": "portbev.data.loader",
    "Part": "portbev.data.base",
    "Sample": "portbev.data.nuscenes.dataset",
    "build_loader": "portbev.data.loader",
    "open_root": "portbev.data.root",
}


_KINDS = {
    "nuscenes": "portbev.data.nuscenes.dataset:DetectionDataset",
    "nuscenes_queue": "portbev.data.nuscenes.queue:QueueDataset",
    "radial": "portbev.data.radial.dataset:RadialDataset",
}
"""The class that reads each kind of ``data`` section."""


def build_dataset(section: CommonData, root: Path, part: Part, *, seed: int) -> Dataset:
    """The training or the evaluation split of a data section, read by the class of its ``kind``.

    Raises:
        DataError: missing version, table, field, split or samples.
    """
    module, _, name = _KINDS[section.kind].partition(":")
    dataset: Dataset = getattr(import_module(module), name)(section, root, part, seed=seed)
    return dataset


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
