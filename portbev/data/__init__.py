"""Data sets as the framework sees them, and batches in a fixed order."""

from portbev.data.base import Dataset, Part
from portbev.data.build import build_dataset
from portbev.data.kinds import DataKind, DataSet
from portbev.data.loader import Loader, build_loader
from portbev.data.root import open_root

__all__ = ["DataKind", "DataSet", "Dataset", "Loader", "Part", "build_dataset", "build_loader", "open_root"]
