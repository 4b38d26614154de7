"""Optimizers and learning-rate schedules. May import: config.

A schedule is a function of the step alone, so it has no state that a checkpoint must carry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from portbev.config.schema import OptimizerSection, ScheduleSection


def build_optimizer(section: OptimizerSection, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The optimizer with all trainable parameters in one group.

    The same update code (``foreach``) runs on every device, so that devices differ by their arithmetic alone.
    """
    trainable = [p for p in parameters if p.requires_grad]
    if section.name == "adamw":
        return torch.optim.AdamW(trainable, lr=lr, betas=section.betas, weight_decay=section.weight_decay, foreach=True)
    return torch.optim.SGD(trainable, lr=lr, momentum=section.momentum, weight_decay=section.weight_decay, foreach=True)


def scaled_lr(section: OptimizerSection, samples_per_step: int) -> float:
    """Highest learning rate: linear in the samples of an optimizer step over all processes (Goyal et al. 2017)."""
    if section.reference_batch is None:
        return section.lr
    return section.lr * samples_per_step / section.reference_batch


def lr_factor(section: ScheduleSection, step: int, *, total: int, steps_per_epoch: int) -> float:
    """Learning rate of optimizer step ``step`` (0-based) over the highest one.

    Args:
        total: steps of the whole schedule.
        steps_per_epoch: to place ``milestones``, which are counted in epochs.

    ``constant``, ``multistep`` (times ``gamma`` from each milestone on) and ``cosine`` (down to ``final_factor`` at the
    last step) rise linearly over ``warmup_steps`` first. ``onecycle`` rises from 1/25 along a cosine for
    ``warmup_steps`` (0: 30 % of the run) and falls to ``final_factor`` (Smith and Topin 2018, as in torch).
    """
    if section.name == "onecycle":
        return _onecycle(section, step, total)
    warmup = section.warmup_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if section.name == "multistep":
        return float(section.gamma ** sum(step >= m * steps_per_epoch for m in section.milestones))
    if section.name == "cosine":
        span = max(1, total - 1 - warmup)
        return _cosine(1.0, section.final_factor, min(1.0, (step - warmup) / span))
    return 1.0


def _onecycle(section: ScheduleSection, step: int, total: int) -> float:
    peak = (section.warmup_steps or 0.3 * total) - 1
    if step <= peak and peak > 0:
        return _cosine(1 / 25, 1.0, step / peak)
    return _cosine(1.0, section.final_factor, min(1.0, (step - max(0, peak)) / max(1, total - 1 - peak)))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
