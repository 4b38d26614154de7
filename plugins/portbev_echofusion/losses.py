"""Matching of queries to objects, and the losses. May import: numpy, torch, portbev.nn, this plugin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.nn.detr import assign, focal_cost, sigmoid_focal_loss
from portbev_echofusion.config import LossSection

Match = tuple[NDArray[np.int64], NDArray[np.int64]]


def match(logits: Tensor, codes: Tensor, targets: Tensor, section: LossSection) -> Match:
    """Cheapest assignment of one sample's objects to its queries.

    Args:
        logits: (Q,1). codes: (Q,8). targets: (n,8). All on the host.

    Returns:
        Queries, ascending, and the object of each.
    """
    distance = (codes[:, None] - targets[None]).abs().sum(-1)
    labels = torch.zeros(len(targets), dtype=torch.int64)
    cost = section.class_cost * focal_cost(logits, labels) + section.box_cost * distance
    return assign(cost)


def match_all(logits: Tensor, codes: Tensor, targets: Sequence[Tensor], section: LossSection) -> list[list[Match]]:
    """:func:`match` of each layer and sample, on the host; logits (layers,B,Q,1), codes (layers,B,Q,8)."""
    logits, codes = logits.detach().float().cpu(), codes.detach().float().cpu()
    return [
        [match(logits[i, b], codes[i, b], target, section) for b, target in enumerate(targets)]
        for i in range(len(logits))
    ]


def detection_losses(
    logits: Tensor,
    codes: Tensor,
    targets: Sequence[Tensor],
    section: LossSection,
    code_weights: Tensor,
    *,
    mean_over_ranks: Callable[[float], float] | None = None,
) -> dict[str, Tensor]:
    """Focal and L1 losses of every decoder layer.

    The original turns losses that are not finite into numbers; here the training loop stops and says where they came
    from.

    Args:
        logits: (layers,B,Q,1). codes: (layers,B,Q,8), on the device.
        targets: B tensors (n,8) float32, on the host, finite.

    Returns:
        ``loss_cls``, ``loss_bbox`` of the last layer, ``d0.loss_cls`` ... of those before.
    """
    matches = match_all(logits, codes, targets, section)
    layers, _, queries, _ = logits.shape
    positives = float(sum(len(target) for target in targets))
    positives = max(mean_over_ranks(positives) if mean_over_ranks else positives, 1.0)
    losses: dict[str, Tensor] = {}
    for layer in range(layers):
        labels, rows, wanted = _gather(matches[layer], targets, queries)
        loss_cls = sigmoid_focal_loss(logits[layer].flatten(0, 1), labels.to(logits.device))
        found = codes[layer].flatten(0, 1).float().index_select(0, rows.to(codes.device))
        gaps = (found - wanted.to(codes.device)).abs() * code_weights
        prefix = "" if layer == layers - 1 else f"d{layer}."
        losses[f"{prefix}loss_cls"] = section.class_weight * loss_cls / positives
        losses[f"{prefix}loss_bbox"] = section.box_weight * gaps.sum() / positives
    return losses


def _gather(matches: Sequence[Match], targets: Sequence[Tensor], queries: int) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (B*Q,) of all queries, 0 object and 1 background; index (k,) and target (k,8) of those with an object."""
    labels = torch.ones(len(matches) * queries, dtype=torch.int64)
    rows, wanted = [], []
    for sample, (found, objects) in enumerate(matches):
        index = torch.from_numpy(found) + sample * queries
        labels[index] = 0
        rows.append(index)
        wanted.append(targets[sample][torch.from_numpy(objects)])
    return labels, torch.cat(rows), torch.cat(wanted)
