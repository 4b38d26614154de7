"""Which boxes are evaluated: filters on range, on points, and on bicycle racks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.metrics.arrays import BoxArrays, GroundTruthArrays, PredictionArrays, expand
from portbev_nuscenes.metrics.config import DetectionConfig

Mask = NDArray[np.bool_]

_CYCLES = [DETECTION_CLASSES.index("bicycle"), DETECTION_CLASSES.index("motorcycle")]


def filter_boxes(
    predictions: PredictionArrays, ground_truth: GroundTruthArrays, config: DetectionConfig
) -> tuple[PredictionArrays, GroundTruthArrays]:
    """The predictions and the ground truth that are evaluated. Sample indices must mean the same samples in both.

    Dropped are boxes at or beyond the range of their class (horizontal distance of the centre from the ego), boxes
    without points, and bicycles and motorcycles whose centre lies in a bicycle rack.
    """
    return (
        predictions.take(np.flatnonzero(_evaluated(predictions, ground_truth, config))),
        ground_truth.take(np.flatnonzero(_evaluated(ground_truth, ground_truth, config))),
    )


def _evaluated(
    boxes: PredictionArrays | GroundTruthArrays, ground_truth: GroundTruthArrays, config: DetectionConfig
) -> Mask:
    """(N,) whether each box is evaluated."""
    ranges = np.array([config.class_range[name] for name in DETECTION_CLASSES], np.float64)
    distance = ego_distance(boxes, ground_truth)
    keep = distance < ranges[boxes.label]
    if config.min_distance > 0:
        keep &= distance >= config.min_distance
    if boxes.num_pts is not None:
        keep &= boxes.num_pts != 0
    if len(ground_truth.racks):
        cycles = np.flatnonzero(keep & np.isin(boxes.label, _CYCLES))
        keep[cycles[in_racks(boxes.translation[cycles], boxes.sample_index[cycles], ground_truth.racks)]] = False
    return keep


def ego_distance(boxes: PredictionArrays | GroundTruthArrays, ground_truth: GroundTruthArrays) -> NDArray[np.float64]:
    """(N,) horizontal distance of the centres from their sample's ego position [m]."""
    dx = boxes.translation[:, 0] - ground_truth.ego_translation[boxes.sample_index, 0]
    dy = boxes.translation[:, 1] - ground_truth.ego_translation[boxes.sample_index, 1]
    dx *= dx
    dy *= dy
    dx += dy
    return np.sqrt(dx, out=dx)


def in_racks(points: NDArray[np.float64], sample_index: NDArray[np.int64], racks: BoxArrays) -> Mask:
    """(N,) whether each point lies in a rack of its sample; the boundary belongs to the rack.

    Args:
        points: (N, 3) global frame [m].
        sample_index: (N,) sample of each point.
        racks: oriented boxes.
    """
    order = np.argsort(racks.sample_index, kind="stable")
    sorted_index = racks.sample_index[order]
    first = np.searchsorted(sorted_index, sample_index, "left")
    point, rack = expand(first, np.searchsorted(sorted_index, sample_index, "right") - first)
    rack = order[rack]
    inside = np.ones(len(point), bool)
    axes = rotation_matrix(racks.rotation)
    extent = racks.size[:, [1, 0, 2]]  # along x, y, z of the box: length, width, height
    # edges start at the corner with the largest coordinates in the box frame and point against its axes
    edges = -axes * extent[:, None, :]
    offset = points[point] - (racks.translation - edges.sum(2) / 2)[rack]
    for axis in range(3):
        edge = edges[rack, :, axis]
        along = (edge * offset).sum(1)
        inside &= (along >= 0) & (along <= (edge * edge).sum(1))
    hit = np.zeros(len(points), bool)
    hit[point[inside]] = True
    return hit


def rotation_matrix(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3, 3) rotation matrices of (N, 4) quaternions w, x, y, z, which need not have unit length."""
    norm = np.linalg.norm(quaternion, axis=1, keepdims=True)
    w, x, y, z = (quaternion / np.where(norm > 0, norm, 1.0)).T
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return np.array(rows, np.float64).transpose(2, 0, 1)
