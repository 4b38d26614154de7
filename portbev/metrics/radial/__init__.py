"""RADIal's metrics, with the quirks of the original tools and without them, side by side.

``evaluate_arrays`` scores arrays in memory, ``evaluate_files`` a results file. There are two evaluations: the one that
papers report (``reported``), and the one that runs during training (``training``). What they share: boxes of frames
(``boxes``), overlaps (``polygon``, ``iou``), who takes whom (``matching``); the files are ``files`` (ours) and
``original`` (``results_3d.npy``).
"""

from portbev.metrics.radial.boxes import FrameBoxes, bottom_rows, frame_boxes
from portbev.metrics.radial.constants import IOU_THRESHOLDS, OVERLAPS, RANGES, TP_ERRORS
from portbev.metrics.radial.evaluate import evaluate, evaluate_arrays, evaluate_files
from portbev.metrics.radial.files import SCHEMA, read_boxes, write_boxes
from portbev.metrics.radial.iou import bev_iou, volume_iou
from portbev.metrics.radial.original import read_original
from portbev.metrics.radial.reported import Score
from portbev.metrics.radial.result import RadialMetrics, Scores
from portbev.metrics.radial.training import TrainingScore

__all__ = [
    "IOU_THRESHOLDS",
    "OVERLAPS",
    "RANGES",
    "SCHEMA",
    "TP_ERRORS",
    "FrameBoxes",
    "RadialMetrics",
    "Score",
    "Scores",
    "TrainingScore",
    "bev_iou",
    "bottom_rows",
    "evaluate",
    "evaluate_arrays",
    "evaluate_files",
    "frame_boxes",
    "read_boxes",
    "read_original",
    "volume_iou",
    "write_boxes",
]
