"""Matching of queries to objects, and the losses of every decoder layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.nn.detr import assign, focal_cost, sigmoid_focal_loss
from portbev.nn.detr_config import LossSection

MATCHED_COLUMNS = 8
"""The matching compares the first columns of a box code: all but the velocity."""

Match = tuple[NDArray[np.int64], NDArray[np.int64]]


def match(logits: Tensor, codes: Tensor, labels: Tensor, targets: Tensor, section: LossSection) -> Match:
    """Cheapest assignment of one sample's objects to its queries.

    Args:
        logits: (Q,classes).
        codes: (Q,code) predicted box codes.
        labels: (n,) int64 classes of the objects.
        targets: (n,code) box codes of the objects. All tensors are on the host.

    Returns:
        Indices of the matched queries, ascending, and of their objects.
    """
    distance = (codes[:, None, :MATCHED_COLUMNS] - targets[None, :, :MATCHED_COLUMNS]).abs().sum(-1)
    cost = section.class_cost * focal_cost(logits, labels) + section.box_cost * distance
    return assign(cost)


def match_all(
    logits: Tensor, codes: Tensor, labels: Sequence[Tensor], targets: Sequence[Tensor], section: LossSection
) -> list[list[Match]]:
    """:func:`match` for each layer and each sample; logits (layers,B,Q,classes), codes (layers,B,Q,code)."""
    both = torch.cat([logits.detach().float(), codes.detach().float()], -1).cpu()  # one wait for the device
    logits, codes = both.split([logits.shape[-1], codes.shape[-1]], -1)
    return [
        [match(logits[i, b], codes[i, b], labels[b], targets[b], section) for b in range(len(labels))]
        for i in range(len(logits))
    ]


def detection_losses(
    logits: Tensor,
    codes: Tensor,
    labels: Sequence[Tensor],
    targets: Sequence[Tensor],
    section: LossSection,
    code_weights: Tensor,
    *,
    mean_over_ranks: Callable[[float], float] | None = None,
) -> dict[str, Tensor]:
    """Focal and L1 losses of every decoder layer.

    A matched object whose target is not finite (a NaN velocity, for example) counts in the classification loss but not
    in the box loss. The original replaces losses that are not finite by numbers; here they stay, and the training loop
    stops with a message that names them.

    Args:
        logits: (layers,B,Q,classes) on the device.
        codes: (layers,B,Q,code) on the device.
        labels: B tensors (n,) int64 on the host.
        targets: B tensors (n,code) float32 on the host.
        code_weights: (code,) weight of each number of a box code.
        mean_over_ranks: averages the number of objects over the ranks; None with one process.

    Returns:
        ``loss_cls`` and ``loss_bbox`` of the last layer, ``d0.loss_cls`` and so on of the layers before.
    """
    matches = match_all(logits, codes, labels, targets, section)
    layers, _, queries, classes = logits.shape
    assigned = [_assign_targets(one, labels, targets, queries, classes) for one in matches]
    query_labels, positive, box_targets = (
        torch.cat(parts).to(logits.device, non_blocking=True) for parts in zip(*assigned, strict=True)
    )
    sizes = [len(one) for _, one, _ in assigned]
    label_of, index_of, target_of = query_labels.chunk(layers), positive.split(sizes), box_targets.split(sizes)
    positives = float(sum(len(label) for label in labels))
    positives = max(mean_over_ranks(positives) if mean_over_ranks else positives, 1.0)
    losses: dict[str, Tensor] = {}
    for layer in range(layers):
        loss_cls = sigmoid_focal_loss(logits[layer].flatten(0, 1), label_of[layer])
        predicted = codes[layer].flatten(0, 1).float().index_select(0, index_of[layer])
        errors = (predicted - target_of[layer]).abs() * code_weights
        prefix = "" if layer == layers - 1 else f"d{layer}."
        losses[f"{prefix}loss_cls"] = section.class_weight * loss_cls / positives
        losses[f"{prefix}loss_bbox"] = section.box_weight * errors.sum() / positives
    return losses


def _assign_targets(
    matches: Sequence[Match], labels: Sequence[Tensor], targets: Sequence[Tensor], queries: int, classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Targets of one layer's queries, flattened over the batch.

    Returns:
        Labels (B*Q,) of all queries, and indices (k,) and target codes (k,code) of those with a finite box target.
    """
    query_labels = torch.full((len(matches) * queries,), classes, dtype=torch.int64)
    positive, box_targets = [], []
    for sample, (matched, objects) in enumerate(matches):
        index = torch.from_numpy(matched) + sample * queries
        query_labels[index] = labels[sample][objects]
        target = targets[sample][objects]
        finite = target.isfinite().all(-1)
        positive.append(index[finite])
        box_targets.append(target[finite])
    return query_labels, torch.cat(positive), torch.cat(box_targets)
