"""Matching of queries to objects, and the losses of every decoder layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.nn.detr import assign, focal_cost, sigmoid_focal_loss

MATCHED = 8
"""Numbers of a box code that the matching compares: all but the velocity."""

Match = tuple[NDArray[np.int64], NDArray[np.int64]]


class LossWeights(Protocol):
    """Weights of the losses and of the costs that the matching adds up."""

    class_weight: float
    box_weight: float
    class_cost: float
    box_cost: float


def match(logits: Tensor, codes: Tensor, labels: Tensor, targets: Tensor, section: LossWeights) -> Match:
    """Cheapest assignment of one sample's objects to its queries.

    Args:
        logits: (Q,classes). codes: (Q,code). labels: (n,) int64. targets: (n,code). All on the host.

    Returns:
        Queries, ascending, and the object of each.
    """
    distance = (codes[:, None, :MATCHED] - targets[None, :, :MATCHED]).abs().sum(-1)
    cost = section.class_cost * focal_cost(logits, labels) + section.box_cost * distance
    return assign(cost)


def match_all(
    logits: Tensor, codes: Tensor, labels: Sequence[Tensor], targets: Sequence[Tensor], section: LossWeights
) -> list[list[Match]]:
    """:func:`match` of each layer and sample, on the host; logits (layers,B,Q,classes), codes (layers,B,Q,code)."""
    logits, codes = logits.detach().float().cpu(), codes.detach().float().cpu()
    return [
        [match(logits[i, b], codes[i, b], labels[b], targets[b], section) for b in range(len(labels))]
        for i in range(len(logits))
    ]


def detection_losses(
    logits: Tensor,
    codes: Tensor,
    labels: Sequence[Tensor],
    targets: Sequence[Tensor],
    section: LossWeights,
    code_weights: Tensor,
    *,
    mean_over_ranks: Callable[[float], float] | None = None,
) -> dict[str, Tensor]:
    """Focal and L1 losses of every decoder layer.

    A matched object whose target is not finite (NaN velocity, say) counts as found but teaches no box. The original
    turns losses that are not finite into numbers; here the training loop stops and says where they came from.

    Args:
        logits: (layers,B,Q,classes). codes: (layers,B,Q,code), on the device.
        labels: B tensors (n,) int64. targets: B tensors (n,code) float32, on the host.

    Returns:
        ``loss_cls``, ``loss_bbox`` of the last layer, ``d0.loss_cls`` ... of those before.
    """
    matches = match_all(logits, codes, labels, targets, section)
    layers, _, queries, classes = logits.shape
    positives = float(sum(len(label) for label in labels))
    positives = max(mean_over_ranks(positives) if mean_over_ranks else positives, 1.0)
    losses: dict[str, Tensor] = {}
    for layer in range(layers):
        assigned, rows, wanted = _gather(matches[layer], labels, targets, queries, classes)
        loss_cls = sigmoid_focal_loss(logits[layer].flatten(0, 1), assigned.to(logits.device))
        found = codes[layer].flatten(0, 1).float().index_select(0, rows.to(codes.device))
        gaps = (found - wanted.to(codes.device)).abs() * code_weights
        prefix = "" if layer == layers - 1 else f"d{layer}."
        losses[f"{prefix}loss_cls"] = section.class_weight * loss_cls / positives
        losses[f"{prefix}loss_bbox"] = section.box_weight * gaps.sum() / positives
    return losses


def _gather(
    matches: Sequence[Match], labels: Sequence[Tensor], targets: Sequence[Tensor], queries: int, classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (B*Q,) of all queries, and index (k,) and target (k,code) of those with a box to learn."""
    assigned = torch.full((len(matches) * queries,), classes, dtype=torch.int64)
    rows, wanted = [], []
    for sample, (found, objects) in enumerate(matches):
        index = torch.from_numpy(found) + sample * queries
        assigned[index] = labels[sample][objects]
        target = targets[sample][objects]
        finite = target.isfinite().all(-1)
        rows.append(index[finite])
        wanted.append(target[finite])
    return assigned, torch.cat(rows), torch.cat(wanted)
