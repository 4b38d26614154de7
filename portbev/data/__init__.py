"""Data sets, their augmentation, and batches in a fixed order.

The names below are imported when they are asked for: the facts in ``portbev_nuscenes`` need neither PyTorch nor
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
    from portbev.data.root import open_root
    from portbev_nuscenes.samples.dataset import DetectionDataset, Sample

__all__ = ["Dataset", "DetectionDataset", "Loader", "Part", "Sample", "build_dataset", "build_loader", "open_root"]

_HOMES = {
    "Dataset": "portbev.data.base",
    "DetectionDataset": "portbev_nuscenes.samples.dataset",
    "Loader": "portbev.data.loader",
    "Part": "portbev.data.base",
    "Sample": "portbev_nuscenes.samples.dataset",
    "build_loader": "portbev.data.loader",
    "open_root": "portbev.data.root",
}


_KINDS = {
    "nuscenes": "portbev_nuscenes.samples.dataset:DetectionDataset",
    "nuscenes_queue": "portbev_nuscenes.samples.queue:QueueDataset",
    "radial": "portbev_radial.dataset:RadialDataset",
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
