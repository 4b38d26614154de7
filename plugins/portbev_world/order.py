"""Occlusion between disjoint boxes, and the order of drawing for the painter's algorithm."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def paint_order(hides: NDArray[np.bool_], distance: Array) -> list[int]:
    """Indices from back to front.

    Args:
        hides: (N, N), whether object i may hide object j.
        distance: (N,) from the eye; farther objects come first where ``hides`` leaves the order open or has a cycle.
    """
    count = len(distance)
    packed = np.packbits(hides, axis=1, bitorder="little")
    blocked = [int.from_bytes(row.tobytes(), "little") & ~(1 << i) for i, row in enumerate(packed)]
    waiting = [int(i) for i in np.argsort(-distance, kind="stable")]
    remaining = (1 << count) - 1
    order = []
    while waiting:
        chosen = next((i for i in waiting if not blocked[i] & remaining), waiting[0])
        waiting.remove(chosen)
        remaining &= ~(1 << chosen)
        order.append(chosen)
    return order


def boxes_hide(boxes: Array, eye: Array) -> NDArray[np.bool_]:
    """(P, P) whether box i may hide box j: unless a plane separates them and j is on the eye's side of it.

    Args:
        boxes: (P, 2, 3) lowest and highest corners.
        eye: (3,) in the same frame.
    """
    low, high = boxes[:, 0], boxes[:, 1]
    tolerance = 1e-3
    below = (high[None] <= low[:, None] + tolerance) & (eye <= low)[:, None]
    above = (low[None] >= high[:, None] - tolerance) & (eye >= high)[:, None]
    return np.asarray(~(below | above).any(axis=2))


def footprints_hide(poses: Array, sizes: Array, eye: Array) -> NDArray[np.bool_]:
    """(N, N) whether oriented rectangle i may hide rectangle j from ``eye``.

    Args:
        poses: (N, 3) x, y, yaw.
        sizes: (N, 2) length and width.
        eye: (2,) position in the same frame.
    """
    half = sizes / 2
    cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    axes = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)  # (N, axis, 2)
    offset = poses[None, :, :2] - poses[:, None, :2]
    centre = np.einsum("iak,ijk->ija", axes, offset)  # centre of j along the axes of i
    cosines = np.abs(np.einsum("iak,jbk->ijab", axes, axes))
    reach = np.einsum("ijab,jb->ija", cosines, half)
    local_eye = np.einsum("iak,ik->ia", axes, eye - poses[:, :2])
    low, high = centre - reach, centre + reach  # extent of j in the frame of i
    limit, sight = half[:, None], local_eye[:, None]
    tolerance = 1e-6
    free = ((high <= -limit + tolerance) & (sight <= -limit)) | ((low >= limit - tolerance) & (sight >= limit))
    # the same with the axes of j: i lies beyond a face of j, and the eye is on the side of j
    beyond = ((low >= limit - tolerance) & (sight <= low)) | ((high <= -limit + tolerance) & (sight >= high))
    free |= beyond.transpose(1, 0, 2)
    away = poses[:, :2] - eye
    distance = np.hypot(away[:, 0], away[:, 1])
    bearing = np.arctan2(away[:, 1], away[:, 0])
    spread = np.arcsin(np.clip(np.hypot(half[:, 0], half[:, 1]) / np.maximum(distance, 1e-9), 0, 1))
    gap = np.abs((bearing[:, None] - bearing[None] + np.pi) % (2 * np.pi) - np.pi)
    separate = (gap > spread[:, None] + spread[None]) & (spread < np.pi / 2)[:, None] & (spread < np.pi / 2)[None]
    return np.asarray(~(free.any(axis=2) | separate))
