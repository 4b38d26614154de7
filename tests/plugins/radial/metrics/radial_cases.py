"""Random frames for the tests of RADIal's metrics."""

from __future__ import annotations

import numpy as np


def random_frames(seed, frames=6, truths=3, strays=2, noise=0.5):
    """Predictions (n, 8) and ground truth (m, 7) per frame: noisy copies, some missed, some twice, some strays."""
    rng = np.random.default_rng(seed)
    predictions, truth = [], []
    for _ in range(frames):
        g = random_boxes(rng, int(rng.integers(0, truths + 1)))
        copies = g[np.sort(rng.integers(0, max(len(g), 1), int(rng.integers(0, 2 * len(g) + 1))))] if len(g) else g
        scale = noise * np.array([1, 1, 0.3, 0.5, 0.3, 0.3, 0.3])
        copies = copies + rng.normal(0, 1, copies.shape) * scale
        p = np.concatenate([copies, random_boxes(rng, int(rng.integers(0, strays + 1)))])
        p[:, 3:6] = np.maximum(p[:, 3:6], 0.5)
        p = p[rng.permutation(len(p))]
        # a float32 value is what the original sees: no difference by rounding alone
        p = np.column_stack([p, rng.uniform(0, 1, len(p))]).astype(np.float32).astype(np.float64)
        predictions.append(p)
        truth.append(g.astype(np.float32).astype(np.float64))
    return predictions, truth


def random_boxes(rng, count):
    """(n, 7) boxes of cars and lorries within 110 m."""
    distance, angle = rng.uniform(3, 110, count), rng.uniform(-0.5, 0.5, count)
    size = rng.uniform([3, 1.5, 1.4], [8, 2.6, 3], (count, 3))
    place = [distance * np.cos(angle), distance * np.sin(angle), rng.uniform(-2, 0, count)]
    return np.column_stack([*place, size, rng.uniform(-4, 4, count)])


def car(x, y, *, z=0.0, yaw=0.0, size=(4.0, 2.0, 1.5), score=None):
    """One row."""
    row = [x, y, z, *size, yaw]
    return row if score is None else [*row, score]
