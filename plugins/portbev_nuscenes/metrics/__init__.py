"""nuScenes detection metrics: mAP, the five true-positive errors and NDS, equal to the devkit's.

``evaluate_files`` scores a submission file against the tables, ``evaluate`` scores arrays in memory. The steps are in
files of their own: read ground truth (``tables``) and predictions (``submission``), drop boxes that are not evaluated
(``filters``), match predictions with ground truth (``matching``), compute the errors of the matches (``tp_errors``) and
the curves and averages (``curves``, ``result``).
"""

from portbev_nuscenes.metrics.arrays import BoxArrays, GroundTruthArrays, PredictionArrays, concatenate
from portbev_nuscenes.metrics.checks import check_predictions
from portbev_nuscenes.metrics.config import TP_ERRORS, DetectionConfig
from portbev_nuscenes.metrics.evaluate import distance_bands, evaluate, evaluate_files
from portbev_nuscenes.metrics.result import DetectionMetrics
from portbev_nuscenes.metrics.submission import load_predictions
from portbev_nuscenes.metrics.tables import load_ground_truth
from portbev_nuscenes.metrics.writer import CAMERA_ONLY, write_predictions

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
