"""Optimizers and learning-rate schedules.

A schedule is a function of the step alone, so it has no state that a checkpoint must carry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from portbev.config.schema import OptimizerSection, ScheduleSection
from portbev.errors import ConfigError, nearest

MULTIPLIER = "lr_multiplier"
"""Key of a parameter group: its learning rate over that of the schedule."""


def build_optimizer(
    section: OptimizerSection, parameters: Iterable[tuple[str, nn.Parameter]], lr: float, *, fused: bool = False
) -> torch.optim.Optimizer:
    """The optimizer with all trainable parameters: one group for each learning rate.

    The same update code (``foreach``) runs on every device, so that devices differ by their arithmetic alone; unless
    ``fused``, which is a kernel of each device's own.

    Args:
        parameters: names and parameters; those that need no gradient are left out.

    Raises:
        ConfigError: an item of ``lr_multipliers`` that is in no parameter's name.
    """
    groups = parameter_groups(section, parameters, lr)
    decay = section.weight_decay
    way: dict[str, bool] = {"fused": True} if fused else {"foreach": True}
    if section.name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=section.betas, weight_decay=decay, **way)
    return torch.optim.SGD(groups, lr=lr, momentum=section.momentum, weight_decay=decay, **way)


def why_not_fused(section: OptimizerSection, device: torch.device) -> str | None:
    """Why the fused update does not work on ``device``, found by a step of it; None if it does."""
    weight = nn.Parameter(torch.ones(8, device=device))
    weight.grad = torch.ones_like(weight)
    try:
        build_optimizer(section, [("weight", weight)], 1e-3, fused=True).step()
    except (RuntimeError, NotImplementedError) as error:
        return " ".join(str(error).split())[:200]
    return None


def parameter_groups(
    section: OptimizerSection, parameters: Iterable[tuple[str, nn.Parameter]], lr: float
) -> list[dict[str, object]]:
    """Trainable parameters by multiplier: those without one first, then in the order of ``lr_multipliers``.

    A parameter belongs to the first item that is a part of its name.
    """
    members: dict[str | None, list[nn.Parameter]] = {None: [], **{part: [] for part in section.lr_multipliers}}
    seen: set[str] = set()
    names = []
    for name, parameter in parameters:
        names.append(name)
        seen |= {part for part in section.lr_multipliers if part in name}
        if parameter.requires_grad:
            members[next((part for part in section.lr_multipliers if part in name), None)].append(parameter)
    for part in section.lr_multipliers:
        if part not in seen:
            cure = nearest(part, {piece for name in names for piece in name.split(".")})
            raise ConfigError(f"no parameter's name contains {part!r}", where="optimizer.lr_multipliers", cure=cure)
    factors = [1.0, *section.lr_multipliers.values()]
    return [
        {"params": weights, "lr": lr * factor, MULTIPLIER: factor}
        for factor, (part, weights) in zip(factors, members.items(), strict=True)
        if weights or part is None
    ]


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the scheduled learning rate times its multiplier."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(MULTIPLIER, 1.0)  # checkpoints of earlier versions have none


def scaled_lr(section: OptimizerSection, samples_per_step: int) -> float:
    """Highest learning rate: linear in the samples of an optimizer step over all processes (Goyal et al. 2017)."""
    if section.reference_batch is None:
        return section.lr
    return section.lr * samples_per_step / section.reference_batch


def lr_line(section: OptimizerSection, samples_per_step: int) -> str:
    """What :func:`scaled_lr` makes of the configured learning rate: ``lr 2e-4 x 1/64 = 3.1e-6 (...)``."""
    if section.reference_batch is None:
        return f"lr {_scientific(section.lr, 3)}"
    batch = f"{samples_per_step} sample{'s' if samples_per_step != 1 else ''} a step"
    scaled = _scientific(scaled_lr(section, samples_per_step), 1)
    factor = f"{samples_per_step}/{section.reference_batch}"
    why = f"{batch}, optimizer.reference_batch={section.reference_batch}"
    return f"lr {_scientific(section.lr, 3)} x {factor} = {scaled} ({why})"


def _scientific(value: float, decimals: int) -> str:
    """``2e-4``: without zeros that say nothing."""
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def lr_factor(section: ScheduleSection, step: int, *, total: int, steps_per_epoch: int) -> float:
    """Learning rate of optimizer step ``step`` (0-based) over the highest one.

    Args:
        total: steps of the whole schedule.
        steps_per_epoch: to place what is counted in epochs.

    ``constant``, ``multistep`` (times ``gamma`` from each milestone on) and ``cosine`` are multiplied by a linear
    warm-up over ``warmup_steps``: from ``warmup_start`` at the first step, or (null) from one part of
    ``warmup_steps + 1``. ``cosine`` falls to ``final_factor`` at the last step, from the end of the warm-up on; with
    ``by_epoch`` it is ``final + (1 - final) * (1 + cos(pi * epoch / epochs)) / 2``, constant within an epoch, the
    warm-up included. ``onecycle`` rises from 1/25 along a cosine for ``warmup_steps`` (0: 30 % of the run) and falls to
    ``final_factor`` (Smith and Topin 2018, as in torch).
    """
    if section.name == "onecycle":
        return _onecycle(section, step, total)
    return _warmup(section, step) * _regular(section, step, total, steps_per_epoch)


def _warmup(section: ScheduleSection, step: int) -> float:
    steps, start = section.warmup_steps, section.warmup_start
    if step >= steps:
        return 1.0
    if start is None:
        return (step + 1) / (steps + 1)
    return 1 - (1 - step / steps) * (1 - start)


def _regular(section: ScheduleSection, step: int, total: int, steps_per_epoch: int) -> float:
    if section.name == "multistep":
        return float(section.gamma ** sum(step >= m * steps_per_epoch for m in section.milestones))
    if section.name == "cosine" and section.by_epoch:
        return _cosine(1.0, section.final_factor, (step // steps_per_epoch) / (total / steps_per_epoch))
    if section.name == "cosine":
        warmup = section.warmup_steps
        share = (step - warmup) / max(1, total - 1 - warmup)
        return _cosine(1.0, section.final_factor, min(1.0, max(0.0, share)))
    return 1.0


def _onecycle(section: ScheduleSection, step: int, total: int) -> float:
    peak = (section.warmup_steps or 0.3 * total) - 1
    if step <= peak and peak > 0:
        return _cosine(1 / 25, 1.0, step / peak)
    return _cosine(1.0, section.final_factor, min(1.0, (step - max(0, peak)) / max(1, total - 1 - peak)))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
