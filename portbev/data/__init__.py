"""Data sets as the framework sees them, and batches in a fixed order.

The loader of batches is in :mod:`portbev.data.loader`: it needs torch, which reading and scoring data do without.
"""

from portbev.data.base import Dataset, Part
from portbev.data.build import build_dataset
from portbev.data.kinds import DataKind, DataSet
from portbev.data.root import open_root

__all__ = ["DataKind", "DataSet", "Dataset", "Part", "build_dataset", "open_root"]
