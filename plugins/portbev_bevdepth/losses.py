"""Losses of BEVDepth: heatmap, boxes, depth; all in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from portbev.models import means
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.head import TaskOutput, box_code
from portbev_bevdepth.targets import TaskTarget, depth_bins

Mean = Callable[[float], float]
EPS = 1.1920928955078125e-07  # added to every normaliser, as the original's averaging does


def gaussian_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Focal loss with Gaussian penalty reduction (Law and Deng, ECCV 2018; alpha 2, gamma 4), summed over all elements.

    Probabilities are clamped to [1e-4, 1 - 1e-4]. Logits and target have the same shape.
    """
    p = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
    eps = 1e-12
    positive = -(p + eps).log() * (1 - p).pow(2) * target.eq(1)
    negative = -(1 - p + eps).log() * p.pow(2) * (1 - target).pow(4)
    return (positive + negative).sum()


def heatmap_loss(output: TaskOutput, target: TaskTarget, peaks: float) -> Tensor:
    """Focal loss divided by the number of peaks (at least 1)."""
    return gaussian_focal_loss(output["heatmap"], target.heatmap) / (max(1.0, peaks) + EPS)


def box_loss(output: TaskOutput, target: TaskTarget, objects: float, code_weights: Tensor) -> Tensor:
    """L1 loss of the box codes at the objects' cells, divided by the number of objects (at least 1e-4).

    ``code_weights`` (10,) are the weights of the code's numbers.
    """
    code = box_code(output).flatten(2).transpose(1, 2)  # (B,Y*X,10)
    predicted = code.gather(1, target.cell[..., None].expand(-1, -1, code.shape[2]))
    weight = target.mask[..., None] * code_weights.to(target.mask.dtype)
    return ((predicted - target.code).abs() * weight).sum() / (max(1e-4, objects) + EPS)


def detection_losses(
    config: BevDepthConfig,
    outputs: Sequence[TaskOutput],
    targets: Sequence[TaskTarget],
    mean_over_ranks: Mean | None = None,
) -> tuple[list[Tensor], list[Tensor]]:
    """The weighted heatmap losses and box losses of the tasks. ``targets`` are on the device of ``outputs``."""
    averaged = means([*(one.peaks for one in targets), *(one.objects for one in targets)], mean_over_ranks)
    counts = zip(averaged[: len(targets)], averaged[len(targets) :], strict=True)
    heatmap_losses, box_losses = [], []
    weights = torch.tensor(config.loss.code_weights).to(targets[0].mask.device, non_blocking=True)
    for output, target, (peaks, objects) in zip(outputs, targets, counts, strict=True):
        heatmap_losses.append(config.loss.heatmap_weight * heatmap_loss(output, target, peaks))
        box_losses.append(config.loss.box_weight * box_loss(output, target, objects, weights))
    return heatmap_losses, box_losses


def depth_loss(config: BevDepthConfig, probability: Tensor, depth: Tensor) -> Tensor:
    """Binary cross-entropy of the depth distribution at pixels with lidar depth, divided by the number of such pixels.

    Args:
        probability: (B*N,D,h,w) after softmax.
        depth: (B,N,H,W) metres, 0 = no return.
    """
    bins = depth_bins(config, depth)
    foreground = (bins > 0).float()
    numbers = torch.arange(1, config.depth_bins + 1, device=bins.device)
    target = (bins[:, None] == numbers[:, None, None]).float()
    weight = foreground[:, None].expand_as(target)
    total = functional.binary_cross_entropy(probability.float(), target, weight=weight, reduction="sum")
    return config.loss.depth_weight * total / foreground.sum().clamp(min=1.0)
