"""Projection of BEV pillars into the cameras, and the list of visible (camera, query) pairs.

The original projects on the device in float32. Here the host does it, in float32 and in a fixed order of operations, so
that the lists of visible pairs are the same on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEAR = np.float32(1e-5)
"""A point is in front of the camera if its depth in metres is larger than this."""

Floats = NDArray[np.float32]


def cell_centers(size: tuple[int, int]) -> Floats:
    """(rows * columns, 2) centres (x, y) of the cells, row by row, in units of the map's width and height."""
    y, x = ((np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n) for n in size)
    x, y = np.meshgrid(x, y)
    return np.stack([x, y], -1).reshape(-1, 2)


def pillar_points(size: tuple[int, int], anchors: int, bounds: Sequence[float]) -> Floats:
    """(anchors, rows * columns, 3) points in metres of the pillars that stand on the cells.

    The points of a pillar are evenly spaced from half a metre above the bottom to half a metre below the top of
    ``bounds`` (x0, y0, z0, x1, y1, z1).
    """
    low, high = np.asarray(bounds[:3], np.float32), np.asarray(bounds[3:], np.float32)
    height = float(bounds[5] - bounds[2])
    relative_heights = (np.linspace(0.5, height - 0.5, anchors) / height).astype(np.float32)
    xy = np.broadcast_to(cell_centers(size), (anchors, size[0] * size[1], 2))
    z = np.broadcast_to(relative_heights[:, None, None], (anchors, size[0] * size[1], 1))
    return np.concatenate([xy, z], -1) * (high - low) + low


def project(points: Floats, lidar2img: ArrayLike, image_size: tuple[int, int]) -> tuple[Floats, NDArray[np.bool_]]:
    """Project points into images.

    Args:
        points: (D, Q, 3) metres.
        lidar2img: (..., 4, 4) matrices from points to (u * d, v * d, d), with pixels u and v and depth d.
        image_size: (height, width) in pixels.

    Returns:
        (..., Q, D, 2) image positions (x, y) in units of the image's width and height, which mean nothing for points
        behind the camera; and (..., Q, D) bool, which points are in front of the camera and strictly inside the image.
    """
    x, y, z = points.transpose(2, 1, 0)
    matrix = np.asarray(lidar2img, np.float64).astype(np.float32)[..., None, None]
    kx, ky, kz, k1 = np.moveaxis(matrix[..., :3, :, :, :], -3, 0)  # each (..., 3, 1, 1)
    u, v, depth = np.moveaxis(kx * x + ky * y + kz * z + k1, -3, 0)
    divisor = np.maximum(depth, NEAR)
    u = u / divisor / np.float32(image_size[1])
    v = v / divisor / np.float32(image_size[0])
    visible = (depth > NEAR) & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    return np.stack([u, v], -1), visible


@dataclass(frozen=True)
class VisiblePairs:
    """The (camera, query) pairs of a batch in which the camera sees the query's pillar, R of them.

    Pairs are sorted by image, that is by sample and then by camera.

    Attributes:
        query: (R,) int64 index of the query in the flattened batch, sample * Q + query.
        counts: number of pairs of each of the B * N images.
        reference: (R, D, 2) float32 positions (x, y) of the pillar's points in the image, in units of its size.
        weight: (B * Q,) float32: 1 / number of cameras that see the query, 1 where no camera does.
    """

    query: NDArray[np.int64]
    counts: tuple[int, ...]
    reference: Floats
    weight: Floats


def visible_pairs(positions: Floats, visible: NDArray[np.bool_], *, pairs_of_first_sample: bool) -> VisiblePairs:
    """The pairs in which the camera sees at least one point of the pillar.

    Args:
        positions: (B, N, Q, D, 2) image positions of the pillars' points, as :func:`project` returns them.
        visible: (B, N, Q, D) whether each point is visible.
        pairs_of_first_sample: quirk of the original: the pairs of the batch's first sample are used for every sample.
            Weights still come from the sample's own cameras.
    """
    sees = np.asarray(visible.any(-1))
    batch, cameras, queries = sees.shape
    paired = np.broadcast_to(sees[:1], sees.shape) if pairs_of_first_sample else sees
    image, query = np.nonzero(paired.reshape(batch * cameras, queries))
    counts = tuple(np.bincount(image, minlength=batch * cameras).tolist())
    weight = 1 / np.maximum(sees.sum(1), 1).astype(np.float32)
    by_image = positions.reshape(batch * cameras, queries, *positions.shape[3:])
    return VisiblePairs(image // cameras * queries + query, counts, by_image[image, query], weight.reshape(-1))
