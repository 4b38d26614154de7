"""How a configuration of mmcv's kind trains: optimizer, schedule, epochs, gradient clipping, precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portbev.convert.reading import Reading

_OPTIMIZERS = {"AdamW": "adamw", "SGD": "sgd"}
_LOGS = "logs and checkpoints are this project's own (docs/runs.md)"
_ELSEWHERE = "said where a run is started"


def training(reading: Reading) -> None:
    """Take ``optimizer``, ``schedule``, ``train`` and ``compute`` from an mmcv 1.x configuration.

    The learning rate of such a file is that of a step over all devices, which the file does not number: it is taken to
    hold for ``reading.devices`` times ``data.samples_per_gpu`` samples.
    """
    batch = reading.take("train.batch_size", "data.samples_per_gpu", default=1)
    reading.set("optimizer.reference_batch", batch * reading.devices, "data.samples_per_gpu")
    reading.notes.append(
        f"the learning rate is taken to be that of {reading.devices} devices with {batch} sample"
        f"{'s' if batch != 1 else ''} each (--devices says another number)"
    )
    reading.take("data.workers", "data.workers_per_gpu")
    reading.take("eval.batch_size", "data.val.samples_per_gpu", default=1)
    _optimizer(reading)
    _schedule(reading)
    _epochs(reading)
    _precision(reading)
    reading.leave(_LOGS, "log_config", "checkpoint_config", "log_level", "evaluation", "workflow", "log_processor")
    reading.leave(_ELSEWHERE, "dist_params", "work_dir", "gpu_ids", "resume_from", "opencv_num_threads")
    reading.leave("needed by mmcv to find the original's code", "plugin", "plugin_dir", "custom_imports")
    reading.leave("files are read from a data root (docs/data.md)", "file_client_args")


def weights_apart(reading: Reading, *paths: str) -> None:
    """Files of weights that a configuration names: paths of another machine, which are told and not taken."""
    for path in paths:
        value = reading.get(path)
        names = list(value.values()) if isinstance(value, Mapping) else [value]
        for name in names:
            if isinstance(name, str) and name:
                reading.aside[path] = "a file of weights, which is not part of a configuration here"
                reading.notes.append(
                    f"the original starts from {name} ({path}): set model.image_backbone.weights, or train with --init"
                )


def _optimizer(reading: Reading) -> None:
    kind = reading.get("optimizer.type", "AdamW")
    if kind in _OPTIMIZERS:
        reading.set("optimizer.name", _OPTIMIZERS[kind], "optimizer.type")
    else:
        reading.different.append(("optimizer.type", kind, f"here are {', '.join(_OPTIMIZERS)}"))
    reading.take("optimizer.lr", "optimizer.lr", float)
    reading.take("optimizer.weight_decay", "optimizer.weight_decay", float, default=1e-2 if kind == "AdamW" else 0.0)
    if kind == "SGD":
        reading.take("optimizer.momentum", "optimizer.momentum", float, default=0.0)
    elif reading.has("optimizer.betas"):
        reading.take("optimizer.betas", "optimizer.betas", list)
    keys = reading.source.values.get("optimizer", {}).get("paramwise_cfg", {}).get("custom_keys", {})
    factors = {}
    for name, change in keys.items() if isinstance(keys, Mapping) else ():
        if isinstance(change, Mapping) and isinstance(change.get("lr_mult"), (int, float)):
            factors[str(name)] = float(change["lr_mult"])
            reading.mark(f"optimizer.paramwise_cfg.custom_keys.{name}.lr_mult")
    if factors:
        # mmcv tries the longest names first
        ordered = dict(sorted(factors.items(), key=lambda item: (-len(item[0]), item[0])))
        reading.set("optimizer.lr_multipliers", ordered, "optimizer.paramwise_cfg.custom_keys")


def _schedule(reading: Reading) -> None:
    policy = reading.get("lr_config.policy", "fixed")
    by_epoch = reading.get("lr_config.by_epoch", True)
    if policy == "CosineAnnealing":
        reading.set("schedule.name", "cosine", "lr_config.policy")
        reading.set("schedule.by_epoch", bool(by_epoch), "lr_config.policy")
        least = reading.get("lr_config.min_lr")
        if least is not None and reading.taken.get("optimizer.lr"):
            reading.set("schedule.final_factor", least / reading.taken["optimizer.lr"][0], "lr_config.min_lr")
        else:
            reading.take("schedule.final_factor", "lr_config.min_lr_ratio", float)
    elif policy == "step" and by_epoch:
        reading.set("schedule.name", "multistep", "lr_config.policy")
        reading.take("schedule.milestones", "lr_config.step", _milestones)
        reading.take("schedule.gamma", "lr_config.gamma", float, default=0.1)
    elif policy in ("fixed", None):
        reading.set("schedule.name", "constant", "lr_config.policy")
    else:
        here = "schedule.name is constant: choose multistep, cosine or onecycle"
        reading.different.append(("lr_config.policy", policy if by_epoch else f"{policy} by iteration", here))
        reading.set("schedule.name", "constant")
    warmup = reading.get("lr_config.warmup")
    if warmup == "linear":
        reading.take("schedule.warmup_steps", "lr_config.warmup_iters", int, default=0)
        reading.take("schedule.warmup_start", "lr_config.warmup_ratio", float, default=0.1)
        reading.same("lr_config.warmup_by_epoch", False)
    elif warmup is not None:
        reading.different.append(("lr_config.warmup", warmup, "here it is linear, or none"))


def _epochs(reading: Reading) -> None:
    epochs = reading.get("total_epochs")
    reading.take("train.epochs", "runner.max_epochs" if reading.has("runner.max_epochs") else "total_epochs", int)
    if epochs is not None and "train.epochs" in reading.taken:
        reading.agrees("train.epochs", "total_epochs")
    kind = reading.get("runner.type", "EpochBasedRunner")
    if not str(kind).startswith("EpochBasedRunner"):
        reading.different.append(("runner.type", kind, "training counts epochs; train.max_steps stops it earlier"))
    clip = reading.get("optimizer_config.grad_clip.max_norm")
    reading.same("optimizer_config.grad_clip.norm_type", 2)
    reading.set("train.clip_grad_norm", None if clip is None else float(clip), "optimizer_config.grad_clip")
    hooks = reading.source.values.get("custom_hooks", [])
    average = reading.step("custom_hooks", "EMAHook")
    reading.set("train.ema.enabled", bool(average), average)
    reading.set("eval.use_ema", bool(average), average)
    if average:
        momentum = reading.get(f"{average}.momentum", 0.0002)
        reading.set("train.ema.decay", 1 - float(momentum), f"{average}.momentum")
    for index in range(len(hooks) if isinstance(hooks, list) else 0):
        reading.leave("a hook of the original's runner", f"custom_hooks.{index}")
    reading.take("train.find_unused_parameters", "find_unused_parameters", bool)


def _precision(reading: Reading) -> None:
    if not reading.has("fp16"):
        return
    scale: Any = reading.get("fp16.loss_scale", 512.0)
    reading.set("compute.amp", "fp16", "fp16")
    if isinstance(scale, (int, float)):
        reading.set("compute.loss_scale", float(scale), "fp16.loss_scale")
    elif scale == "dynamic" or isinstance(scale, Mapping):
        reading.set("compute.loss_scale", "dynamic", "fp16.loss_scale")


def _milestones(steps: Any) -> list[int]:
    return [int(step) for step in steps] if isinstance(steps, (list, tuple)) else [int(steps)]
