"""Which camera sees which pillar, and where.

The original projects on the device in float32. Here the host does it, in float32 and in a fixed order of operations, so
that the lists of visible queries are the same on every device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEAR = np.float32(1e-5)
"""Depth in metres from which on a point is before the camera."""

Floats = NDArray[np.float32]


def cell_centers(size: tuple[int, int]) -> Floats:
    """(rows * columns, 2) centres (x, y) of the cells as shares of the map, row-major."""
    y, x = ((np.arange(n, dtype=np.float32) + np.float32(0.5)) / np.float32(n) for n in size)
    x, y = np.meshgrid(x, y)
    return np.stack([x, y], -1).reshape(-1, 2)


def pillar_points(size: tuple[int, int], anchors: int, bounds: Sequence[float]) -> Floats:
    """(anchors, rows * columns, 3) points of each cell's pillar in metres.

    Heights lie evenly between half a metre above the floor and half a metre below the top of ``bounds``
    (x0, y0, z0, x1, y1, z1).
    """
    low, high = np.asarray(bounds[:3], np.float32), np.asarray(bounds[3:], np.float32)
    reach = float(bounds[5] - bounds[2])
    heights = (np.linspace(0.5, reach - 0.5, anchors) / reach).astype(np.float32)
    flat = np.broadcast_to(cell_centers(size), (anchors, size[0] * size[1], 2))
    tall = np.broadcast_to(heights[:, None, None], (anchors, size[0] * size[1], 1))
    return np.concatenate([flat, tall], -1) * (high - low) + low


def project(points: Floats, lidar2img: ArrayLike, image_size: tuple[int, int]) -> tuple[Floats, NDArray[np.bool_]]:
    """Points in the images.

    Args:
        points: (D, Q, 3) metres. lidar2img: (..., 4, 4) to (u * d, v * d, d). image_size: (height, width) in pixels.

    Returns:
        (..., Q, D, 2) places (x, y) as shares of the image, and (..., Q, D) whether they lie strictly inside, before
        the camera. Places of points behind it mean nothing.
    """
    x, y, z = points.transpose(2, 1, 0)
    matrix = np.asarray(lidar2img, np.float64).astype(np.float32)[..., None, None]
    kx, ky, kz, k1 = np.moveaxis(matrix[..., :3, :, :, :], -3, 0)  # each (..., 3, 1, 1)
    u, v, depth = np.moveaxis(kx * x + ky * y + kz * z + k1, -3, 0)
    positive = np.maximum(depth, NEAR)
    u = u / positive / np.float32(image_size[1])
    v = v / positive / np.float32(image_size[0])
    seen = (depth > NEAR) & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    return np.stack([u, v], -1), seen


@dataclass(frozen=True)
class Visibility:
    """The (camera, query) pairs of a batch, sorted by image (sample-major, then camera).

    Attributes:
        query: (R,) int64 index of the query in the flattened batch, sample * Q + query.
        counts: pairs of each image, B * N of them.
        places: (R, D, 2) float32 where the query's pillar is in that image.
        share: (B * Q,) float32: 1 / number of cameras that see the query, 1 where none does.
    """

    query: NDArray[np.int64]
    counts: tuple[int, ...]
    places: Floats
    share: Floats


def visible_pairs(places: Floats, seen: NDArray[np.bool_], *, lists_of_first: bool) -> Visibility:
    """Pairs in which at least one point of the pillar is seen.

    Args:
        places: (B, N, Q, D, 2). seen: (B, N, Q, D).
        lists_of_first: quirk of the original: the pairs of the batch's first sample are taken for every sample; the
            number of cameras that a query's sum is divided by is its own sample's all the same.
    """
    hit = np.asarray(seen.any(-1))
    batch, cameras, queries = hit.shape
    listed = np.broadcast_to(hit[:1], hit.shape) if lists_of_first else hit
    image, query = np.nonzero(listed.reshape(batch * cameras, queries))
    counts = np.bincount(image, minlength=batch * cameras)
    share = 1 / np.maximum(hit.sum(1), 1).astype(np.float32)
    flat = places.reshape(batch * cameras, queries, *places.shape[3:])
    return Visibility(image // cameras * queries + query, tuple(counts.tolist()), flat[image, query], share.reshape(-1))
