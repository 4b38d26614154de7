"""RADIal's metrics, each computed with the quirks of the original tools and without them.

``evaluate_arrays`` scores arrays in memory, ``evaluate_files`` a results file. There are two evaluations: the one that
papers report (``reported``), and the one that runs during training (``training``). They share the boxes of frames
(``boxes``), the overlaps (``polygon``, ``iou``) and the matching (``matching``). ``files`` reads and writes portbev's
own file format, ``original`` reads the original's ``results_3d.npy``.
"""

from portbev_radial.metrics.boxes import FrameBoxes, bottom_rows, frame_boxes
from portbev_radial.metrics.constants import IOU_THRESHOLDS, OVERLAPS, RANGES, TP_ERRORS
from portbev_radial.metrics.evaluate import evaluate, evaluate_arrays, evaluate_files
from portbev_radial.metrics.files import SCHEMA, read_boxes, write_boxes
from portbev_radial.metrics.iou import bev_iou, volume_iou
from portbev_radial.metrics.original import read_original
from portbev_radial.metrics.reported import Score
from portbev_radial.metrics.result import RadialMetrics, Scores
from portbev_radial.metrics.training import TrainingScore

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
