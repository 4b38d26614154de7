"""nuScenes detection metrics: mAP, the five true-positive errors and NDS, equal to the devkit's.

``evaluate_files`` scores a submission file against the tables, ``evaluate`` scores arrays in memory. The subjects are
in files of their own: reading (``tables``, ``submission``), what counts (``filters``), who takes whom (``matching``),
the errors of the pairs (``tp_errors``), curves and averages (``curves``, ``result``).
"""

from portbev.metrics.nuscenes.arrays import BoxArrays, GroundTruthArrays, PredictionArrays, concatenate
from portbev.metrics.nuscenes.checks import check_predictions
from portbev.metrics.nuscenes.config import TP_ERRORS, DetectionConfig
from portbev.metrics.nuscenes.evaluate import distance_bands, evaluate, evaluate_files
from portbev.metrics.nuscenes.result import DetectionMetrics
from portbev.metrics.nuscenes.submission import load_predictions
from portbev.metrics.nuscenes.tables import load_ground_truth
from portbev.metrics.nuscenes.writer import CAMERA_ONLY, write_predictions

__all__ = [
    "CAMERA_ONLY",
    "TP_ERRORS",
    "BoxArrays",
    "DetectionConfig",
    "DetectionMetrics",
    "GroundTruthArrays",
    "PredictionArrays",
    "check_predictions",
    "concatenate",
    "distance_bands",
    "evaluate",
    "evaluate_files",
    "load_ground_truth",
    "load_predictions",
    "write_predictions",
]
