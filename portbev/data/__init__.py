"""Data sets as the framework sees them, and batches in a fixed order.

The loader of batches is in :mod:`portbev.data.loader`: it needs torch, which reading and scoring data do without.
"""

from portbev.data.base import Dataset, Part
from portbev.data.build import build_dataset
from portbev.data.kinds import DataKind, DataSet
from portbev.data.root import open_root
from portbev.data.summary import BoxCounts, Summary

__all__ = ["BoxCounts", "DataKind", "DataSet", "Dataset", "Part", "Summary", "build_dataset", "open_root"]
