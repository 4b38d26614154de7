"""Functions that DETR-like heads share: matching, losses, and the choice of queries.

Carion et al., ECCV 2020; Zhu et al., ICLR 2021. Formulas and constants are those of mmdet 2.x.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

EPS = 1e-5


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Logit of ``x`` clamped to [0, 1], with numerator and denominator at least 1e-5."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=EPS) / (1 - x).clamp(min=EPS))


def sigmoid_focal_loss(logits: Tensor, labels: Tensor, *, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Focal loss (Lin et al., ICCV 2017), summed over all elements, float32.

    Args:
        logits: (n, classes).
        labels: (n,) int64; the value ``classes`` means background.
    """
    logits = logits.float()
    classes = torch.arange(logits.shape[1], device=logits.device)
    target = (labels[:, None] == classes).to(logits.dtype)
    p = logits.sigmoid()
    error = (1 - p) * target + p * (1 - target)
    weight = (alpha * target + (1 - alpha) * (1 - target)) * error.pow(gamma)
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (cross_entropy * weight).sum()


def focal_cost(logits: Tensor, labels: Tensor, *, gamma: float = 2.0, alpha: float = 0.25) -> Tensor:
    """Cost (queries, objects) of matching each object to each query: how much that changes the focal loss of its class.

    Args:
        logits: (queries, classes).
        labels: (objects,) int64.
    """
    p = logits.sigmoid()
    negative = -(1 - p + 1e-12).log() * (1 - alpha) * p.pow(gamma)
    positive = -(p + 1e-12).log() * alpha * (1 - p).pow(gamma)
    return positive[:, labels] - negative[:, labels]


def assign(cost: Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cheapest one-to-one assignment (Hungarian method).

    Args:
        cost: (queries, objects), on the host, finite.

    Returns:
        Indices of the matched queries, ascending, and of their objects.
    """
    queries, objects = linear_sum_assignment(cost.detach().numpy())
    return np.asarray(queries, np.int64), np.asarray(objects, np.int64)


def best_queries(logits: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The (query, class) pairs of one sample with the highest scores; a query can occur with several classes.

    Args:
        logits: (Q, classes).

    Returns:
        Scores (k,) in falling order, and flat indices query * classes + class (k,).
    """
    scores = logits.float().sigmoid().flatten()
    best = scores.topk(min(limit, scores.numel()))
    return best.values, best.indices


def within(codes: Tensor, bounds: Sequence[float]) -> Tensor:
    """Which boxes have their centre in ``bounds`` (x0, y0, z0, x1, y1, z1), borders included: (n,) bool.

    A centre that is NaN is nowhere; it counts as inside, so that it is not left out without a word.

    Args:
        codes: (n, code) box codes with the centre's x, y and z in columns 0, 1 and 4.
    """
    centers = codes[:, [0, 1, 4]]
    low, high = (centers.new_tensor(list(corner)) for corner in (bounds[:3], bounds[3:]))
    return ~((centers < low) | (centers > high)).any(-1)
