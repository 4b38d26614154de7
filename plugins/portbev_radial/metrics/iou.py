"""Overlaps of pairs of boxes: of footprints (BEV), of volumes (3D), and with tolerance in range (LET).

``official`` computes as the original does, in float32 and with its quirks; ``fixed`` is exact, in float64:

* the original rotates boxes clockwise for a positive yaw, which mirrors labels with counter-clockwise yaw;
* it takes the z of the bottom face for that of the centre, so that each box is lowered by half its height before the
  heights are compared;
* in LET it moves the ground truth along its ray instead of the prediction.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev_radial.metrics.constants import LET_TOLERANCE, Overlap, Quirks
from portbev_radial.metrics.polygon import shared_area

Array = NDArray[np.float64]
Single = NDArray[np.float32]

_FOOTPRINT = [0, 1, 3, 4, 6]
_EPSILON = 1e-6


def overlap(kind: Overlap, quirks: Quirks, predictions: Array, truth: Array) -> Array:
    """IoU (n,) float64 of boxes, pair by pair; rows are those of :mod:`portbev_radial.metrics.boxes`.

    ``bev`` is the IoU of the rotated footprints, ``3d`` that of the volumes. ``let`` ("LET-3D-AP", Hung et al. 2022)
    moves one box along its ray from the radar to the point nearest to the other box. If that moves it by less than a
    tenth of the range, the IoU is that of the footprints, each rotated to the nearest axis; else it is 0.
    """
    if quirks == "official":
        first, second = predictions[:, :7].astype(np.float32), truth[:, :7].astype(np.float32)
        if kind == "let":
            return _let(second, first)
        return _official(first, second, flat=kind == "bev")
    if kind == "let":
        return _let(predictions[:, :7], truth[:, :7])
    return bev_iou(predictions, truth) if kind == "bev" else volume_iou(predictions, truth)


def bev_iou(first: Array, second: Array) -> Array:
    """IoU (n,) of the footprints of boxes (n, 7 or more), pair by pair; 0 where both areas are 0."""
    return _ratio(
        shared_area(first[:, _FOOTPRINT], second[:, _FOOTPRINT]),
        first[:, 3] * first[:, 4],
        second[:, 3] * second[:, 4],
    )


def volume_iou(first: Array, second: Array) -> Array:
    """IoU (n,) of the volumes of upright boxes (n, 7 or more), pair by pair; 0 where both volumes are 0."""
    top = np.minimum(first[:, 2] + first[:, 5], second[:, 2] + second[:, 5])
    height = np.maximum(top - np.maximum(first[:, 2], second[:, 2]), 0.0)
    return _ratio(
        shared_area(first[:, _FOOTPRINT], second[:, _FOOTPRINT]) * height,
        first[:, 3:6].prod(1),
        second[:, 3:6].prod(1),
    )


def _ratio(shared: Array, first: Array, second: Array) -> Array:
    union = first + second - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _official(first: Single, second: Single, *, flat: bool) -> Array:
    """The original's IoU of rotated boxes; ``flat`` gives all boxes the same z and a height of 2 m."""
    if flat:
        first, second = first.copy(), second.copy()
        first[:, [2, 5]] = second[:, [2, 5]] = np.array([0, 2], np.float32)
    half = np.float32(0.5)
    low, other_low = first[:, 2] - first[:, 5] * half, second[:, 2] - second[:, 5] * half
    top = np.minimum(low + first[:, 5], other_low + second[:, 5])
    height = np.maximum(top - np.maximum(low, other_low), np.float32(0))
    area = shared_area(_clockwise_footprint(first), _clockwise_footprint(second)).astype(np.float32)
    shared = area * height
    volumes = [box[:, 3] * box[:, 4] * box[:, 5] for box in (first, second)]
    union = np.maximum(volumes[0] + volumes[1] - shared, np.float32(1e-8))
    return (shared / union).astype(np.float64)


def _clockwise_footprint(box: Single) -> Array:
    """(n, 5) footprints from the float32 edges that the original passes to its kernel, with mirrored yaw."""
    half = box[:, 3:5] / np.float32(2)
    low, high = (box[:, :2] - half).astype(np.float64), (box[:, :2] + half).astype(np.float64)
    return np.column_stack([(low + high) / 2, high - low, -box[:, 6].astype(np.float64)])


def _let(moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> Array:
    """IoU after ``moving`` was moved along its ray towards ``fixed``; computed in the dtype of the boxes."""
    (mx, my), (fx, fy) = moving[:, :2].T, fixed[:, :2].T
    factor = (mx * fx + my * fy) / (mx * mx + my * my + moving.dtype.type(_EPSILON))
    moved = moving.copy()
    moved[:, :2] *= factor[:, None]
    distance = np.sqrt((moved[:, 0] - mx) ** 2 + (moved[:, 1] - my) ** 2)
    limit = moving.dtype.type(LET_TOLERANCE) * (np.sqrt(fx * fx + fy * fy) + moving.dtype.type(_EPSILON))
    return np.where(distance < limit, _axis_aligned_iou(moved, fixed), 0.0).astype(np.float64)


def _axis_aligned_iou(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.floating]:
    (low, high), (other_low, other_high) = _edges(first), _edges(second)
    shared = np.maximum(np.minimum(high, other_high) - np.maximum(low, other_low), 0).prod(1)
    union = (high - low).prod(1) + (other_high - other_low).prod(1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _edges(box: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Lower and upper (n, 2) corners of the footprints, rotated to the nearest axis."""
    pi = box.dtype.type(np.pi)
    yaw = box[:, 6] - np.floor(box[:, 6] / pi + box.dtype.type(0.5)) * pi
    size = np.where((np.abs(yaw) > pi / 4)[:, None], box[:, [4, 3]], box[:, [3, 4]])
    return box[:, :2] - size / 2, box[:, :2] + size / 2
