"""True-positive errors of matched boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.metrics.arrays import GroundTruthArrays, PredictionArrays
from portbev_nuscenes.metrics.filters import rotation_matrix
from portbev_nuscenes.metrics.matching import norm2

Floats = NDArray[np.float64]

_BARRIER = DETECTION_CLASSES.index("barrier")


def tp_errors(prediction: PredictionArrays, truth: GroundTruthArrays) -> dict[str, Floats]:
    """Errors of M matches: row i of ``prediction`` matches row i of ``truth``.

    Returns:
        (M,) each: ``trans_err`` [m, in x and y], ``scale_err`` [1 - IoU of the sizes], ``orient_err`` [rad; a barrier
        turned by pi counts as equal], ``vel_err`` [m/s, NaN where the true velocity is unknown], ``attr_err`` [0 or 1,
        NaN where the truth has no attribute].
    """
    return {
        "trans_err": norm2(prediction.translation[:, :2] - truth.translation[:, :2]),
        "vel_err": norm2(prediction.velocity - truth.velocity),
        "scale_err": 1 - scale_iou(truth.size, prediction.size),
        "orient_err": yaw_difference(truth, prediction),
        "attr_err": np.where(truth.attribute < 0, np.nan, 1.0 - (prediction.attribute == truth.attribute)),
    }


def scale_iou(first: Floats, second: Floats) -> Floats:
    """(M,) IoU of boxes of sizes (M, 3) that share centre and axes."""
    common = np.prod(np.minimum(first, second), axis=1)
    return common / (np.prod(first, axis=1) + np.prod(second, axis=1) - common)


def yaw_difference(truth: GroundTruthArrays, prediction: PredictionArrays) -> Floats:
    """(M,) unsigned angle between headings [rad]: at most pi, or pi / 2 for barriers."""
    period = np.where(truth.label == _BARRIER, np.pi, 2 * np.pi)
    difference = (yaw(truth.rotation) - yaw(prediction.rotation) + period / 2) % period - period / 2
    return np.abs(np.where(difference > np.pi, difference - 2 * np.pi, difference))


def yaw(quaternion: Floats) -> Floats:
    """(M,) heading of the box's x axis in the x-y plane [rad] from (M, 4) quaternions w, x, y, z."""
    matrix = rotation_matrix(quaternion)
    return np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
